package namespace

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Joining another process: setns(2) takes a pidfd and a set of kinds since
// Linux 5.8. That is what entering a running container wants: all of it or
// nothing, and nobody can take the process's number meanwhile.

// JoinProcess adds namespaces of a process, which pidfd refers to, to those
// that are joined: the kinds in flags (CLONE_NEW*), with a single setns(2).
// pidfd must stay open until the plan runs.
//
// A namespace that the caller shares with the process anyway is left out, as
// with NewSet: entering its own user namespace is EINVAL, and of the others
// the kernel asks CAP_SYS_ADMIN in their owner even so, which somebody who
// enters a rootless container on the host's network does not have. A kind that
// the set has already, and a process that has ended, are errors.
//
// With one setns(2) it is the caller's rights before that count, for every
// kind: those of root, or of the user who made the user namespace.
func (s *Set) JoinProcess(pidfd *os.File, flags int) error {
	if flags == 0 || flags&^everything != 0 {
		return fmt.Errorf("join namespaces of a process: flags %#x do not name kinds of namespaces", flags)
	}
	pid, err := pidOf(pidfd)
	if err != nil {
		return err
	}
	j := &joined{file: pidfd, name: "process"}
	for _, k := range Kinds {
		if k.Flag&flags == 0 {
			continue
		}
		if s.Has(k.Flag) {
			return fmt.Errorf("namespace %q is named twice", k.Type)
		}
		if err := j.add(k, pid); err != nil {
			return err
		}
	}
	// The number was the process's all the time if it has not ended by now.
	if _, err := pidOf(pidfd); err != nil {
		return err
	}
	if j.flags == 0 {
		return nil
	}
	j.doing = fmt.Sprintf("join namespaces %s of process %d", plan.CloneFlags(uint64(j.flags)), pid)
	s.joined = append(s.joined, j)
	return s.arrange()
}

// add adds a namespace of process pid, unless it is inherited anyway.
func (j *joined) add(k Kind, pid int) error {
	var theirs unix.Stat_t
	if err := unix.Stat(fileOf(pid, k), &theirs); err != nil {
		return errNoProcess(fmt.Errorf("open %s namespace %q: %w", k.Type, fileOf(pid, k), err))
	}
	inherited, err := k.inherits(theirs)
	if err == nil && !inherited {
		j.flags |= k.Flag
	}
	return err
}

// fileOf is where a process's namespace is found.
func fileOf(pid int, k Kind) string { return fmt.Sprintf("/proc/%d/ns/%s", pid, k.File) }

// open opens the namespaces one by one, the user namespace first, for who has to look
// at them: setns(2) of a process takes the pidfd.
func (j *joined) open() error {
	if len(j.parts) > 0 {
		return nil
	}
	pid, err := pidOf(j.file)
	if err != nil {
		return err
	}
	for _, k := range Kinds {
		if k.Flag&j.flags == 0 {
			continue
		}
		f, err := k.Open(fileOf(pid, k))
		if err != nil {
			return err
		}
		j.parts = append(j.parts, f)
	}
	_, err = pidOf(j.file) // see JoinProcess
	return err
}

// close closes what open has opened.
func (j *joined) close() error {
	var errs []error
	for _, f := range j.parts {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// pidOf is the number of the process that pidfd refers to, as the Pid line in
// /proc/self/fdinfo says it: pidfd_open(2).
func pidOf(pidfd *os.File) (int, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Fd()))
	if err != nil {
		return 0, fmt.Errorf("find the process of a pidfd: %w", err)
	}
	for line := range bytes.Lines(info) {
		value, ok := bytes.CutPrefix(line, []byte("Pid:"))
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		switch {
		case err != nil:
			return 0, fmt.Errorf("find the process of a pidfd: %w", err)
		case pid == 0:
			return 0, errors.New("join namespaces of a process: it is not in our pid namespace, and cannot be seen")
		case pid < 0:
			return 0, errNoProcess(fmt.Errorf("join namespaces of a process: %w", unix.ESRCH))
		}
		return pid, nil
	}
	return 0, fmt.Errorf("join namespaces of a process: descriptor %d is not a pidfd", pidfd.Fd())
}
