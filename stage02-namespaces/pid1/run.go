package pid1

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/execvp"
)

// The life of an init: start the program, pass signals on, wait for everything
// until the program ends. See fork(2), execve(2), execvp(3).

// The statuses for a program that did not start, as env(1), timeout(1) and the
// shells have them.
const (
	initFailed    = 125 // the init itself could not do its work
	notExecutable = 126 // the program is there and cannot be executed
	notFound      = 127
)

// child is the program.
type child struct {
	pid   int // also the id of its process group: setpgid(2)
	pidfd int // for signals: unlike pid it never comes to mean another process
}

// Run runs argv with the environment env, looking for it along env's PATH, and
// returns when it has ended: with its exit status, or with 128 + n when signal
// n killed it. When it could not be started there is an error, which is the
// kernel's errno underneath, and the status is what shells give: 127 not found,
// 126 not executable, 125 for every other reason. An error beside a status of
// the program's own says which signals could not be passed on.
//
// Run is for a process that does nothing else: it waits for every child of
// this process, takes all signals, makes the process a subreaper for good, and
// marks all descriptors above 2 close-on-exec.
//
// What the program leaves running is not touched. When this is process 1, the
// kernel kills it as soon as this process exits. Where the pid namespace is
// shared, it goes to the next subreaper or to process 1, as it would have
// without an init; it is for whoever owns the container's cgroup to end it.
func Run(argv, env []string) (status int, err error) {
	if len(argv) == 0 {
		return initFailed, errors.New("no program to run")
	}
	if err := prepare(); err != nil {
		return initFailed, err
	}
	terminal := findTerminal()
	signals := listen() // from here on: none is lost while the program starts
	defer signals.stop()
	program, err := start(argv, env, terminal)
	if err != nil {
		return statusOf(err), err
	}
	signals.forwardTo(program)
	ended, err := wait(program, signals, terminal)
	if err != nil {
		return initFailed, err
	}
	return exitStatus(ended), errors.Join(signals.failures(), terminal.takeBack(program.pid))
}

// prepare makes orphans come to this process, also where it is not process 1,
// and keeps the descriptors that it was born with from the program
// (CVE-2024-21626): close_range(2).
func prepare() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors from 3 on: %w", err)
	}
	return nil
}

// start runs the program in a process group of its own, with no signal
// blocked and no handler, so that it starts as it would without an init.
//
// syscall.ForkExec, not os/exec: only one place may wait for children, and
// that is wait. It also gives the program the limit of open files that this
// process was started with, which the Go runtime has raised for itself.
func start(argv, env []string, t *terminal) (child, error) {
	path, err := find(argv[0], env)
	if err != nil {
		return child{}, err
	}
	// A signal mask belongs to a thread, and a child gets that of its parent's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, &before); err != nil {
		return child{}, fmt.Errorf("unblock signals: %w", err)
	}
	c := child{pidfd: -1}
	attributes := &syscall.SysProcAttr{Setpgid: true, PidFD: &c.pidfd}
	if t.ours() {
		// ForkExec does it in the child, while signals are blocked there: a
		// process of the background would get SIGTTOU otherwise.
		attributes.Foreground, attributes.Ctty = true, t.fd
	}
	c.pid, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: env, Files: []uintptr{0, 1, 2}, Sys: attributes,
	})
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		return child{}, fmt.Errorf("restore blocked signals: %w", err)
	}
	if err != nil {
		const none = 0
		return child{}, errors.Join(cannotExecute(argv[0], err), t.takeBack(none)) // the child had it for a moment
	}
	return c, nil
}

// find looks for a program as execvp(3) does: the first file along PATH that
// can be executed. One that is there and may not be executed is EACCES.
func find(name string, env []string) (string, error) {
	reason := error(unix.ENOENT)
	for _, path := range execvp.Candidates(name, env) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		case err == nil && !info.IsDir() && unix.Access(path, unix.X_OK) == nil:
			return path, nil
		default:
			reason = unix.EACCES
		}
	}
	if reason == unix.ENOENT && !strings.Contains(name, "/") {
		reason = hint.Add(reason, "no directory of PATH has it: "+execvp.PathOf(env))
	}
	return "", cannotExecute(name, reason)
}

// cannotExecute is the error of an execve(2) of the program, in the words
// that a plan has for it.
func cannotExecute(name string, reason error) error {
	err := fmt.Errorf("execute %q: %w", name, reason)
	var errno unix.Errno
	if errors.As(reason, &errno) {
		err = hint.Add(err, plan.UsualCause("execve", errno))
	}
	return err
}

// statusOf is the status for a program that could not be started.
func statusOf(err error) int {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return notFound
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC):
		return notExecutable
	}
	return initFailed
}

// exitStatus passes the end of the program on, as shells do.
func exitStatus(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
