// Command stage01 runs a program in a root file system of its own: chapter 1
// of workshop.md.
//
// A program finds every file by a path, and a path that begins with "/" begins
// at the root directory of the process. The kernel keeps one for each process
// (the link /proc/PID/root shows it), and chroot(2) changes it. After that one
// call the files of the host have no names any more. Containers began here, in
// 1979, and so does this course. What the call does not do is the subject of
// the demo: a name that is gone is not a wall.
//
// Here is also the idea that carries all seven chapters. The program does not
// call chroot, chdir and execve: it makes a list of these calls, a plan. The
// plan can be printed, tested without being root, and carried out.
package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs/binfmt"
)

// environment is what programs in the new root start with: nothing of the
// host's, which names places that are not there.
var environment = []string{"PATH=" + binfmt.DefaultPath, "HOME=/root"}

// container is the plan of this chapter: what a process does to itself in
// order to become the program argv in the root file system at root. chroot(2)
// leaves the working directory where it is, outside; chdir(2) brings it in. It
// leaves descriptors open, too: none but the first three goes to the program.
func container(root string, files []kernelFiles, argv []string) (*plan.Plan, error) {
	program, err := binfmt.Find(root, argv[0])
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{}
	p.Section(1, "a root of its own")
	p.Add(plan.Chroot(root).Hint(unix.EPERM, notRoot), plan.Chdir("/"))
	for _, f := range files {
		f.add(p)
	}
	p.Section(1, "the program")
	p.Add(plan.CloseOnExec(3), plan.Execve(program, argv, environment))
	return p, nil
}

// notRoot is the hint for who may not call chroot(2).
const notRoot = "chroot needs CAP_SYS_CHROOT: run it as root (sudo), or see chapter 2, where a user namespace gives everybody one"

// run carries the plan out, in this very process: when all is well it does
// not return, because the process has become the program.
func run(root string, files []kernelFiles, argv []string) error {
	// The kernel's word for most mistakes is "no such file or directory";
	// looked at beforehand, they can be told apart.
	if err := binfmt.Check(root, argv[0]); err != nil {
		return err
	}
	if err := checkFree(root, files); err != nil {
		return err
	}
	p, err := container(root, files, argv)
	if err != nil {
		return err
	}
	err = plan.Run(p)
	if failed, ok := errors.AsType[*plan.Error](err); ok {
		err = errors.Join(err, unmountDone(p, failed.Index, files))
	}
	return err
}

func main() { os.Exit(command.Run(app(), os.Args)) }
