package plan_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// write opens a file for a plan to write to, made if it is missing.
func write(path string) plan.Step {
	return plan.Openat2(plan.CWD, path, unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_CLOEXEC, Mode: 0o644})
}

// missing opens a file that is not there, and takes that well.
func missing(dir string) plan.Step {
	return plan.Openat2(plan.CWD, dir+"/missing", unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC}).Accept(unix.ENOENT)
}

// mark makes a folder: the sign that the plan came by.
func mark(dir, name string) plan.Step {
	return plan.Mkdirat(plan.CWD, filepath.Join(dir, name), 0o755)
}

// marks are the names of the folders in dir that mark has made.
func marks(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, f := range found {
		names += filepath.Base(f) + " "
	}
	return names
}

// run runs a plan that must succeed.
func run(t *testing.T, p *plan.Plan) {
	t.Helper()
	if err := plan.Run(p); err != nil {
		t.Fatal(err)
	}
}

func TestAResultGoesToARegisterAndFromThereToACall(t *testing.T) {
	file := t.TempDir() + "/file"
	p := &plan.Plan{}
	fd := p.Register("fd")
	p.Add(write(file).Into(fd), plan.Write(fd, "through a register"), plan.Close(fd))
	run(t, p)
	if text, err := os.ReadFile(file); string(text) != "through a register" {
		t.Errorf("file holds %q, %v", text, err)
	}
}

func TestAGuardAsksWhetherARegisterHoldsASuccess(t *testing.T) {
	dir := t.TempDir()
	p := &plan.Plan{}
	good, bad, never := p.Register("good"), p.Register("bad"), p.Register("never")
	p.Add(
		plan.Umask(0o22).Into(good),
		missing(dir).Into(bad),
		mark(dir, "when-good").When(good), mark(dir, "unless-good").Unless(good),
		mark(dir, "when-bad").When(bad), mark(dir, "unless-bad").Unless(bad),
		mark(dir, "when-never").When(never), mark(dir, "unless-never").Unless(never),
		mark(dir, "both").When(good).Unless(bad), mark(dir, "not-both").When(good).Unless(good),
	)
	run(t, p)
	if got, want := marks(t, dir), "both unless-bad unless-never when-good "; got != want {
		t.Errorf("done: %s\nwant: %s", got, want)
	}
}

func TestASkippedStepKeepsItsRegister(t *testing.T) {
	dir := t.TempDir()
	p := &plan.Plan{}
	fd, no := p.Register("fd"), p.Register("no")
	p.Add(
		write(dir+"/first").Into(fd),
		missing(dir).Into(no),
		write(dir+"/second").Into(fd).When(no),
		plan.Write(fd, "x"),
		plan.Close(fd),
	)
	run(t, p)
	if text, err := os.ReadFile(dir + "/first"); string(text) != "x" {
		t.Errorf("the first file holds %q, %v", text, err)
	}
}

func TestOnlyNamedFailuresAreFine(t *testing.T) {
	dir := t.TempDir()
	p := &plan.Plan{}
	p.Add(mark(dir, "a"), mark(dir, "a").Accept(unix.ENOENT, unix.EEXIST), mark(dir, "a").Accept(unix.ENOENT), mark(dir, "b"))
	err := plan.Run(p)
	var failed *plan.Error
	if !errors.As(err, &failed) || failed.Index != 2 || failed.Errno != unix.EEXIST {
		t.Errorf("error %v, want EEXIST of the third step", err)
	}
	if got := marks(t, dir); got != "a " {
		t.Errorf("done: %s", got)
	}
}

func TestReadingWaitsForAByteAndNotForTheEnd(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &plan.Plan{}
	p.Add(plan.ReadByte(plan.Descriptor{Number: int(r.Fd()), Name: "pipe"}, 'g'))
	if _, err := w.WriteString("g"); err != nil {
		t.Fatal(err)
	}
	run(t, p)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	err = plan.Run(p)
	if !errors.Is(err, unix.ECANCELED) || hint.Of(err) != "the process that was to give the word to go on has ended" {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
}

func TestABrokenStepFailsWhateverItWouldHaveDone(t *testing.T) {
	dir := t.TempDir()
	p := &plan.Plan{}
	no := p.Register("no")
	p.Add(missing(dir).Into(no), mark(dir, "skipped").When(no), plan.Umask(0o22), missing(dir))
	for i := range p.Len() {
		var failed *plan.Error
		if err := plan.Run(p.Break(i)); !errors.As(err, &failed) || failed.Index != i || failed.Errno != unix.ENOSYS {
			t.Errorf("step %d broken: error %v", i, err)
		}
	}
	run(t, p) // Break has changed copies only
}
