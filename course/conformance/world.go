package conformance

// This file makes the world that a program of the suite runs in and takes it
// down again. The programs were written for a machine that is thrown away:
// they leave containers, mounts, control groups and folders of fixed names.
//
// So each has namespaces of its own (namespaces(7)). Mount: /run, where
// runtimes keep their state and the programs their bundles, is a new tmpfs;
// /dev/null is a node of its own, since a runtime may change the owner of what
// it gets as standard input; the control groups are mounted again. Pid: the
// first process is a shell, and when it ends the kernel ends all others.
// Cgroup: the hierarchies that the program sees begin at groups that were made
// for it (groups.go). Ipc and uts, so that a container that was to have
// its own and has not changes nothing here.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/course/thread"
)

// command is a program to run in a world.
type command struct {
	dir     string // working directory
	program string
	env     []string // beside PATH and the folder for temporary files
	timeout time.Duration
}

// ended is how it ended.
type ended struct {
	stdout, stderr string
	death          string // empty when it exited with 0
	took           time.Duration
}

// runInWorld runs the command and leaves nothing of it. The error is for a
// world that cannot be made or taken down.
func runInWorld(ctx context.Context, c command) (ended, error) {
	groups, err := makeGroups()
	if err != nil {
		return ended{}, errors.Join(err, groups.remove())
	}
	var e ended
	thread.Run(func() {
		if err = enterWorld(groups); err == nil {
			e, err = c.run(ctx, groups)
		}
	})
	return e, errors.Join(err, groups.remove())
}

// enterWorld puts the calling thread into the world, and what it starts from
// now on; all but the pid namespace, which begins with a process.
func enterWorld(g *groups) error {
	if err := g.enter(); err != nil {
		return err
	}
	const own = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if err := unix.Unshare(own); err != nil {
		return fmt.Errorf("unshare mount, cgroup, ipc and uts namespaces: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make all mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf(`mount "tmpfs" on "/run": %w`, err)
	}
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return err
	}
	if err := ownNull(); err != nil {
		return err
	}
	return g.mount()
}

// temporary is the folder for the programs' temporary files, on the tmpfs.
const temporary = "/run/tmp"

// ownNull puts a node of this world in the place of /dev/null.
func ownNull() error {
	const node = "/run/null"
	if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		return fmt.Errorf("mknod %q: %w", node, err)
	}
	if err := os.Chmod(node, 0o666); err != nil { // whatever the umask is
		return err
	}
	if err := unix.Mount(node, "/dev/null", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf(`bind mount %q on "/dev/null": %w`, node, err)
	}
	return nil
}

// firstProcess is what the pid namespace's first process does: it waits for
// the program, and for whatever else becomes its child. /proc shows the
// namespace of the process that mounts it.
const firstProcess = `mount -t proc proc /proc || exit; "$0"; status=$?; exit $status`

// run runs the command on the calling thread and waits until the kernel has
// ended everything in its world.
func (c command) run(ctx context.Context, g *groups) (ended, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", firstProcess, c.program)
	cmd.Dir = c.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TMPDIR=" + temporary}, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL, // the world does not outlive this process
		Setpgid:    true,            // Ctrl-C is for us
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	err := g.whileThawing(ctx, cmd.Run)
	e := ended{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(begin)}
	var exited *exec.ExitError
	switch {
	case ctx.Err() != nil:
		e.death = fmt.Sprintf("killed after %s", c.timeout)
	case errors.As(err, &exited):
		e.death = exited.Error()
	case err != nil:
		return e, fmt.Errorf("run %q: %w", filepath.Base(c.program), err)
	}
	return e, nil
}
