package plan_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
)

// failure runs a plan of these steps, which must fail, and returns what a
// main would print.
func failure(t *testing.T, steps ...plan.Step) string {
	t.Helper()
	p := &plan.Plan{}
	p.Add(steps...)
	err := plan.Run(p)
	if err == nil {
		t.Errorf("no error:\n%s", p)
	}
	var b strings.Builder
	hint.Print(&b, "skiff", err)
	return b.String()
}

// file makes a file in dir and returns its path.
func file(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := dir + "/" + name
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnErrorNamesTheStepTheReasonAndTheUsualCause(t *testing.T) {
	dir := t.TempDir()
	plain := file(t, dir, "plain", "", 0o644)
	strange := file(t, dir, "strange", "neither ELF nor #!", 0o755)
	closed := plan.Descriptor{Number: 987, Name: "the_pipe"}
	own := plan.Chroot("/nonexistent").Doing("enter the root of %s", "box").
		Hint(unix.EPERM, "not this one").Hint(unix.ENOENT, "what the step knows beats the usual cause")
	text := failure(t, plan.Umask(0o22), plan.Chdir("/nonexistent")) +
		failure(t, plan.Chroot("/nonexistent")) +
		failure(t, own) +
		failure(t, plan.Close(closed)) +
		failure(t, plan.Execve("/nonexistent", nil, nil)) +
		failure(t, plan.Execve(plain, nil, nil)) +
		failure(t, plan.Execve(strange, nil, nil)) +
		failure(t, plan.Openat2(plan.CWD, dir+"/plain/x", unix.OpenHow{Flags: unix.O_PATH}).Accept(unix.ENOENT))
	testkit.Golden(t, text, "errors.golden")
}

func TestAFailedMountIsExplainedInTheKernelsWords(t *testing.T) {
	testkit.HostUnchanged(t)
	var text string
	for _, option := range []string{"size=nonsense", "colour=green"} {
		p := &plan.Plan{}
		fs := p.Register("fs")
		key, value, _ := strings.Cut(option, "=")
		p.Add(plan.Fsopen("tmpfs").Into(fs), plan.FsconfigString(fs, key, value))
		text += fmt.Sprintln(plan.Run(p))
	}
	closeContexts(t)
	testkit.Golden(t, text, "kernel-words.golden")
}

// closeContexts closes what a plan that failed in this very process has left
// open; a child would just have ended.
func closeContexts(t *testing.T) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range open {
		var fd int
		if _, err := fmt.Sscan(entry.Name(), &fd); err != nil {
			t.Fatal(err)
		}
		if target, _ := os.Readlink("/proc/self/fd/" + entry.Name()); target == "anon_inode:[fscontext]" {
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
	}
}
