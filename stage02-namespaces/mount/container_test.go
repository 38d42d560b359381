package mount_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage02-namespaces/namespace"
)

// A world is how a container's process is born.
type world struct {
	kinds uintptr                // new namespaces, beside that of mounts
	ids   []specs.LinuxIDMapping // of its own user namespace, for users and groups
	first []plan.Step            // before the root is looked at
}

// attempt starts a process in a mount namespace of its own, whose root is
// the directory root with what add puts into it. The process has left the
// host's root and waits until the test ends, so that a test can look at it
// from outside: /proc/PID/mountinfo, /proc/PID/root.
func attempt(t *testing.T, root string, add func(p *plan.Plan, r *mount.Root) error) (*launch.Process, error) {
	t.Helper()
	return world{}.attempt(t, root, add)
}

func (w world) attempt(t *testing.T, root string, add func(p *plan.Plan, r *mount.Root) error) (*launch.Process, error) {
	t.Helper()
	never, mapped := newGate(t), newGate(t)
	ready, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	p := &plan.Plan{}
	if w.ids != nil {
		p.Add(mapped.Steps()...)
		p.Add(plan.Setresgid(0), plan.Setresuid(0))
	}
	mount.Detach(p, unix.MS_SLAVE)
	p.Add(w.first...)
	r := mount.NewRoot(p, root)
	if w.ids != nil {
		r.OwnUserNamespace(w.ids, w.ids)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	p.Add(plan.Umask(0))
	if err := add(p, r); err != nil {
		return nil, errors.Join(err, says.Close())
	}
	r.Pivot()
	p.Add(plan.Write(plan.Descriptor{Number: int(says.Fd()), Name: "ready"}, "r"))
	p.Add(never.Steps()...)
	p.Add(plan.Exit(0))
	process, err := launch.Start(p, launch.Options{Namespaces: unix.CLONE_NEWNS | w.kinds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(process.Kill(), process.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(says.Close(), w.open(mapped, process)); err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return process, process.Started()
	}
	return process, nil
}

// open writes the id maps of a process and lets it go on.
func (w world) open(mapped *launch.Gate, process *launch.Process) error {
	if w.ids == nil {
		return nil
	}
	if err := (namespace.Maps{UIDs: w.ids, GIDs: w.ids}).Write(process.Pid); err != nil {
		return err
	}
	return mapped.Open()
}

// newGate makes a gate that is closed when the test ends.
func newGate(t *testing.T) *launch.Gate {
	t.Helper()
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gate.Close(); err != nil {
			t.Error(err)
		}
	})
	return gate
}

// privately does f in a mount namespace of its own, in which the folders that
// f makes shared are so for nobody else. What f starts is born there.
func privately(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and not unlocked: this thread ends with its namespace
		if unix.Gettid() == unix.Getpid() {
			// What /proc/self shows is the first thread: leave it alone.
			privately(t, f)
			runtime.UnlockOSThread()
			return
		}
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// mounts adds mounts to a container.
func mounts(all ...specs.Mount) func(p *plan.Plan, r *mount.Root) error {
	return func(_ *plan.Plan, r *mount.Root) error {
		for _, m := range all {
			if err := r.Mount(m); err != nil {
				return err
			}
		}
		return nil
	}
}

// container is attempt for a container that must come to life.
func container(t *testing.T, root string, add func(p *plan.Plan, r *mount.Root) error) *launch.Process {
	t.Helper()
	process, err := attempt(t, root, add)
	if err != nil {
		t.Fatal(err)
	}
	return process
}

// tmpfs is a mount of a new, empty file system.
func tmpfs(destination string, options ...string) specs.Mount {
	return specs.Mount{Destination: destination, Type: "tmpfs", Source: "tmpfs", Options: options}
}

// bind is a bind mount.
func bind(source, destination string, options ...string) specs.Mount {
	return specs.Mount{Destination: destination, Source: source, Options: append([]string{"bind"}, options...)}
}

// mountinfo is what the kernel says of the mounts of a process: mount point →
// "options propagation…", for example "ro,nosuid shared:7". See
// proc_pid_mountinfo(5).
func mountinfo(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		left, _, _ := strings.Cut(line, " - ")
		fields := strings.Fields(left)
		all[fields[4]] = strings.Join(fields[5:], " ")
	}
	return all
}

// ofFileSystem is what the kernel says of the file systems behind the mounts:
// mount point → "rw,sync,size=64k".
func ofFileSystem(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		left, right, _ := strings.Cut(line, " - ")
		all[strings.Fields(left)[4]] = strings.Fields(right)[2]
	}
	return all
}

// inside is the path at which the host sees a path of the container.
func inside(p *launch.Process, path string) string {
	return fmt.Sprintf("/proc/%d/root%s", p.Pid, path)
}

// write makes a file.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// mkdir makes a directory.
func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// symlink makes a symbolic link.
func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// mountTmpfs mounts an empty file system in the namespace of privately, with a
// propagation.
func mountTmpfs(t *testing.T, on, propagation string) {
	t.Helper()
	err := unix.Mount("tmpfs", on, "tmpfs", 0, "")
	if propagation == "shared" {
		err = errors.Join(err, unix.Mount("", on, "", unix.MS_SHARED, ""))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks the words of an error and of its hint.
func wantError(t *testing.T, err error, words, advice string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(hint.Of(err), advice) {
		t.Errorf("error %v\nhint  %s\nwant  %s\nand   %s", err, hint.Of(err), words, advice)
	}
}

// wantText checks that a text has a part.
func wantText(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q is not in\n%s", part, text)
	}
}

// parentOf is the folder of a path.
func parentOf(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 1)] }

// openFiles is how many descriptors this process has.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// procFile is a file of a process below /proc.
func procFile(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

// runInChild runs a plan in a process of its own, to its end.
func runInChild(t *testing.T, p *plan.Plan) {
	t.Helper()
	process, err := launch.Start(p, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = process.Wait()
	if err := errors.Join(err, process.Close()); err != nil {
		t.Fatal(err)
	}
}
