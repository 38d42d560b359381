// Command stage02 runs a program in namespaces of its own: chapter 2 of
// workshop.md.
//
// Chapter 1 took the host's file names away, and everything without a file name
// stayed: processes, mounts, the host name, the network. A namespace is a set
// of such things that belongs to some processes only: namespaces(7). There are
// eight kinds. `stage02 new` shows what each of them does alone, around a
// program of the host, and `stage02 join` enters those of another process.
//
// `stage02 run` puts them together. The program is born into five new ones, by
// a single clone3(2). It is process 1 of its pid namespace, alone with a loopback
// interface, and may mount and name what it likes: nobody else sees it. Who is
// not root gets a sixth, the user namespace, and is root in there: with it
// nothing of this chapter needs root.
//
// A new mount namespace begins as a copy of the host's. So the plan builds a
// tree of mounts and then drops the host's: pivot_root(2) exchanges the root
// mount itself, where chroot(2) moved only this process's idea of it. Above the
// new root there is nothing left to climb to. See package container for the plan.
package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/rootfs/binfmt"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/namespace"
	"skiff.example/stage02-namespaces/pid1"
)

// newContainer is the container of this chapter: the program argv in the root file
// system at root, with what the command line asks for.
func newContainer(o options, root string, argv []string) (*container.Container, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	path, err := binfmt.Find(root, argv[0])
	if err != nil {
		return nil, err
	}
	more := o.namespaces
	if os.Geteuid() != 0 && !o.has(specs.UserNamespace) {
		// Only root may make the other kinds, or who is root in a user namespace.
		more = append(more, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	namespaces, err := container.Own(more...)
	if err != nil {
		return nil, err
	}
	c := &container.Container{
		Namespaces: namespaces, Root: root, Hostname: o.hostname, Mounts: o.mounts,
		Path: path, Argv: argv, Env: container.Environment(), Init: o.init, Explain: o.explain,
	}
	return c, withMaps(c, o)
}

// withMaps gives a container's new namespaces what they need: a map of ids to a
// user namespace, offsets to a time namespace.
func withMaps(c *container.Container, o options) (err error) {
	if len(o.clocks) > 0 {
		if err := c.Namespaces.SetTimeOffsets(o.clocks); err != nil {
			return errors.Join(err, c.Namespaces.Close())
		}
	}
	if c.Namespaces.New(unix.CLONE_NEWUSER) {
		if c.Maps, err = namespace.OwnMaps(); err != nil {
			return errors.Join(err, c.Namespaces.Close())
		}
	}
	return nil
}

// run runs a program in a container. Its status is ours.
func run(ctx context.Context, o options, root string, argv []string) (err error) {
	// The kernel's word for most mistakes is "no such file or directory"; looked
	// at beforehand, they can be told apart.
	if err := binfmt.Check(root, argv[0]); err != nil && !o.plan {
		return err
	}
	c, err := newContainer(o, root, argv)
	if err != nil {
		return err
	}
	return runOrPrint(ctx, o, c)
}

// runOrPrint runs a container, or prints its plan.
func runOrPrint(ctx context.Context, o options, c *container.Container) (err error) {
	defer func() { err = errors.Join(err, c.Namespaces.Close()) }()
	if o.plan {
		return printPlan(os.Stdout, c)
	}
	status, err := c.Run(ctx)
	if err != nil {
		return err
	}
	return container.Failed(status)
}

func main() {
	if pid1.Called(os.Args) { // this program is also process 1 of a container, see --init
		os.Exit(pid1.Main())
	}
	os.Exit(command.Run(app(), os.Args))
}
