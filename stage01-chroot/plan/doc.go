// Package plan holds skiff's idea: a container is a list of system calls.
//
// A Plan is that list, in order. Everything that the first process of a
// container does to itself stands in its plan, from the first unshare(2) or
// mount(2) to the execve(2) that ends it. The same list
//
//   - is printed, in the notation of strace(1):
//     mount("proc", ".", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL);
//   - is executed, one call after another, in this very process (Run) or in a
//     freshly cloned child (package launch of stage 02);
//   - reports which step failed, with the kernel's reason (Error);
//   - is timed, and can be broken on purpose (Break).
//
// A plan knows no loops and no conditions but these: a call's result may go
// to a Register that later calls take as an argument; a call may name errnos
// that are fine; and a call may be left out depending on what a register
// holds. That is enough to build a container, and little enough to be read.
package plan
