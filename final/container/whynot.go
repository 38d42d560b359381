package container

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// The failures that have made many people search: a signal or an errno is all that the
// kernel says (signal(7), execve(2)), and what is behind it stands in the container's
// files and counters, which are looked at then.

// why says more about the error of a container that was to be made or started.
func (c *Container) why(err error) error {
	var step *plan.Error
	switch {
	case err == nil:
		return nil
	case c.process != nil && c.outOfMemory():
		return c.memoryHint(fmt.Errorf("%w: the kernel has killed a process of the container, which was out of memory", err))
	case !errors.As(err, &step) || step.Step.Call() != "execve" && step.Step.Call() != "faccessat2":
		return err
	}
	cause, advice := oci.WhyNot(c.config.Spec, step.Errno)
	if cause == "" {
		return err
	}
	told := *step
	told.Message = cause
	return hint.Add(&told, advice)
}

// warnOfEnd says why the program was ended, where the exit status does not.
func (c *Container) warnOfEnd(end unix.WaitStatus) {
	warn := func(err error) {
		fmt.Fprintln(c.config.Warn, "warning:", err)
		if advice := hint.Of(err); advice != "" {
			fmt.Fprintln(c.config.Warn, "hint:", advice)
		}
	}
	switch ended := exitStatus(end); {
	case ended == 128+int(unix.SIGSYS) && c.config.Spec.Linux.Seccomp != nil:
		warn(hint.Add(errors.New("the program was killed by SIGSYS: linux.seccomp forbids a system call that it has made"),
			"the kernel's log or that of auditd has the number of the call: dmesg | grep 'type=1326'"))
	case ended == 128+int(unix.SIGKILL) && c.outOfMemory():
		warn(c.memoryHint(errors.New("the kernel has killed a process of the container, which was out of memory")))
	}
}

// outOfMemory tells whether the kernel has killed a process in the container's cgroup
// because of its limit: cgroups(7).
func (c *Container) outOfMemory() bool {
	if c.cgroup == nil || c.memoryLimit() <= 0 {
		return false
	}
	stats, err := c.cgroup.Stats()
	return err == nil && stats.Memory != nil && stats.Memory.OOMKill > 0
}

// memoryLimit is the container's limit in bytes, or 0.
func (c *Container) memoryLimit() int64 {
	r := c.config.Spec.Linux.Resources
	if r == nil || r.Memory == nil || r.Memory.Limit == nil {
		return 0
	}
	return *r.Memory.Limit
}

// memoryHint says what to do against it.
func (c *Container) memoryHint(err error) error {
	return hint.Add(err, fmt.Sprintf("linux.resources.memory.limit is %d bytes", c.memoryLimit()))
}

// startError is the error of a program that a created container did not start: step
// is a line of its plan, see writePlan. The process is gone, and so is what a plan knows.
func startError(dir string, state *State, line string, errno unix.Errno, place string) error {
	what, text, _ := strings.Cut(line, "\t")
	call, _, _ := strings.Cut(text, "(")
	err, advice := fmt.Errorf("%s: %w %s", what, errno, place), plan.UsualCause(call, errno)
	spec, failed := state.loadConfig(dir)
	if failed != nil || call != "execve" || spec.Process == nil {
		return hint.Add(err, advice)
	}
	cause, better := oci.WhyNot(spec, errno)
	if cause == "" {
		return hint.Add(err, advice)
	}
	return hint.Add(fmt.Errorf("%s: %w: %s %s", what, errno, cause, place), better)
}
