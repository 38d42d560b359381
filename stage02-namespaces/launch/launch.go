// Package launch runs a plan in a new process: clone(2), then the plan's
// calls, then the program that the plan executes.
//
// A container cannot be made by the process that asks for it: unshare(2) and
// setns(2) change one thread, refuse to work for others (a user namespace
// wants a process of one thread), or take effect for children only
// (pid_namespaces(7)). A Go program always has several threads. runc answers
// with a constructor in C that runs before Go starts, and by executing itself
// again, twice. Here the child never needs Go: it is a copy of the parent, in
// one thread, that issues prepared system calls until its execve(2). See
// package machine for the loop, and clone.go for the moment of birth.
package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
	"skiff.example/stage02-namespaces/namespace/whynot"
)

// failedStatus is the exit status of a child whose plan failed. It is only
// seen by who waits without asking for the error.
const failedStatus = 127

// Options say how the process is born. The zero value is a plain child.
type Options struct {
	// Namespaces are the CLONE_NEW* flags of clone3(2).
	Namespaces uintptr
	// Cgroup is an open directory of the cgroup v2 hierarchy; the child is
	// born in it (CLONE_INTO_CGROUP). Nil leaves it in the parent's.
	Cgroup *os.File
	// Timed measures each step, see Process.Times.
	Timed bool
	// Report is a file that holds the page in which the child says how far
	// it is. With one, a process that did not start the child can tell why it
	// failed (see ReadReport). Nil uses memory that only this process shares.
	Report *os.File
}

// Start runs p in a new process and returns when that exists. The plan is
// then under way; see Process.Started for when it is done.
func Start(p *plan.Plan, o Options) (*Process, error) {
	program, err := p.Compile()
	if err != nil {
		return nil, err
	}
	memory, err := mapPage(p.Len(), o.Report)
	if err != nil {
		return nil, errors.Join(err, program.Close())
	}
	program.Page = machine.MapPage(memory, p.Len())
	if o.Timed {
		program.Page.Timed = 1
	}
	process := &Process{plan: p, page: program.Page, memory: memory}
	if err := errors.Join(process.start(program, o), program.Close()); err != nil {
		return nil, errors.Join(err, process.Close())
	}
	return process, nil
}

// mapPage makes the memory that parent and child share.
func mapPage(steps int, report *os.File) ([]byte, error) {
	size := machine.PageSize(steps)
	fd, flags := -1, unix.MAP_SHARED|unix.MAP_ANONYMOUS
	if report != nil {
		if err := report.Truncate(int64(size)); err != nil {
			return nil, fmt.Errorf("make room for the report of the child: %w", err)
		}
		fd, flags = int(report.Fd()), unix.MAP_SHARED
	}
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for the report of the child: %w", size, err)
	}
	return memory, nil
}

// start clones, and where the plan clones once more (to enter a pid
// namespace) follows it to the process that goes on.
func (p *Process) start(program *machine.Program, o Options) error {
	if err := p.clone(program, o); err != nil {
		return err
	}
	if p.plan.Splits() {
		return p.followSplit()
	}
	return nil
}

// clone makes the child, and the pipe that tells when its plan is over: the
// child holds the writing end until execve closes it or the child ends; then
// reading the other end says "end of file". The lock keeps children that are
// born at the same moment from holding it, too.
func (p *Process) clone(program *machine.Program, o Options) error {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	alive, held, err := Pipe()
	if err != nil {
		return err
	}
	p.alive = alive
	defer held.Close()
	p.plan.Alive(program, int(held.Fd()))

	args := argsFor(o)
	pid, pidfd, errno := machine.Clone(args, program, failedStatus)
	runtime.KeepAlive(o.Cgroup)
	if errno != 0 {
		err := fmt.Errorf("clone a process with %s: %w", plan.CloneFlags(args.Flags), errno)
		return hint.Add(hint.Add(err, whynot.Namespaces(int(o.Namespaces), errno)), plan.UsualCause("clone3", errno))
	}
	p.Pid, p.pidfd = pid, os.NewFile(uintptr(pidfd), "pidfd")
	return nil
}

// followSplit waits for the first child, which only joins namespaces and
// clones, and takes over the second, which is this process's child as well
// (CLONE_PARENT). The second cannot be gone: nobody else can wait for it.
func (p *Process) followSplit() error {
	if _, err := p.reap(); err != nil {
		return err
	}
	if err := p.plan.Failure(p.page); err != nil && p.page.Child == 0 {
		return err
	}
	if p.page.Child == 0 {
		return fmt.Errorf("the process that was to join the namespaces was killed: %v", p.status)
	}
	pidfd, err := unix.PidfdOpen(int(p.page.Child), 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.page.Child, err)
	}
	err = p.pidfd.Close()
	p.Pid, p.pidfd, p.reaped = int(p.page.Child), os.NewFile(uintptr(pidfd), "pidfd"), false
	return err
}

// ReadReport reads from a report (see Options.Report) which step its process
// has come to, from 0, and the errno with which that failed, or 0.
func ReadReport(report *os.File) (step int, errno unix.Errno, err error) {
	var words [2]int64 // the first two fields of machine.Page
	if err := readWords(report, 0, words[:]); err != nil {
		return 0, 0, err
	}
	return int(words[0]), unix.Errno(words[1]), nil
}

// readWords reads 64-bit words of a report.
func readWords(report *os.File, offset int64, words []int64) error {
	raw := make([]byte, 8*len(words))
	if _, err := report.ReadAt(raw, offset); err != nil {
		return fmt.Errorf("read report: %w", err)
	}
	for i := range words {
		words[i] = int64(binary.NativeEndian.Uint64(raw[8*i:]))
	}
	return nil
}

// ReadMarks reads from a report when its process was born, in CLOCK_MONOTONIC
// nanoseconds, and the marks of its first n steps. Both are zero for what was done
// before somebody asked for times.
func ReadMarks(report *os.File, n int) (born int64, marks []machine.Mark, err error) {
	words := make([]int64, 2*n)
	if err := readWords(report, int64(machine.PageSize(0)), words); err != nil {
		return 0, nil, err
	}
	for i := 0; i < len(words); i += 2 {
		marks = append(marks, machine.Mark{Time: words[i], Result: words[i+1]})
	}
	var first [1]int64
	err = readWords(report, machine.BornAt, first[:])
	return first[0], marks, err
}

// MeasureFrom makes the process of a report, which must be opened for writing,
// measure the steps that it does from now on.
func MeasureFrom(report *os.File) error {
	if _, err := report.WriteAt(binary.NativeEndian.AppendUint64(nil, 1), machine.TimedAt); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
