package mount_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
)

// attempt starts a process in a mount namespace of its own, whose root is
// the directory root with what add puts into it. The process has left the
// host's root and waits until the test ends, so that a test can look at it
// from outside: /proc/PID/mountinfo, /proc/PID/root.
func attempt(t *testing.T, root string, add func(p *plan.Plan, r *mount.Root) error) (*launch.Process, error) {
	t.Helper()
	never, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	ready, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	p := &plan.Plan{}
	mount.Detach(p, unix.MS_PRIVATE)
	r := mount.NewRoot(p, root)
	p.Add(plan.Umask(0))
	if err := add(p, r); err != nil {
		return nil, errors.Join(err, says.Close(), never.Close())
	}
	r.Pivot()
	p.Add(plan.Write(plan.Descriptor{Number: int(says.Fd()), Name: "ready"}, "r"))
	p.Add(never.Steps()...)
	p.Add(plan.Exit(0))
	process, err := launch.Start(p, launch.Options{Namespaces: unix.CLONE_NEWNS})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(process.Kill(), process.Close(), never.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := says.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return process, process.Started()
	}
	return process, nil
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
