package container

import (
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/pid1"
)

// A small process 1 gives the terminal to its program, so it must have it first.
// But its process group, the one of its parent, has no number in a new pid
// namespace: it can neither tell that it is in the foreground nor change that.
// So it gets a group of its own; and the terminal, if that was ours. See
// tcsetpgrp(3), credentials(7) "Sessions", and package pid1.

// passesTerminal tells whether the container's process 1 is to have our terminal:
// standard input is our controlling terminal, and we are in its foreground.
func (c *Container) passesTerminal() bool {
	if !c.Init || !c.Namespaces.New(unix.CLONE_NEWPID) {
		return false
	}
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// takeTerminal adds the steps that do so. All signals are blocked meanwhile.
func takeTerminal(p *plan.Plan) {
	p.Section(chapter, "a process group, and the terminal for it")
	p.Add(plan.Setpgid(), plan.Foreground(plan.Descriptor{Number: 0}, 1)) // the group of process 1
}

// takeBackTerminal is for when the container has ended.
func takeBackTerminal() error { return pid1.SetForeground(0, unix.Getpgrp()) }
