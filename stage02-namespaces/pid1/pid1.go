// Package pid1 is a tiny init: process 1 for a container whose program was
// not written to be one.
//
// The kernel treats process 1 of a pid namespace unlike any other
// (pid_namespaces(7)), in three ways that surprise an ordinary program:
//
//   - orphans become its children, and each stays a zombie that keeps its pid
//     until process 1 waits for it;
//   - a signal that it has no handler for does nothing to it, so that the
//     program no longer ends at SIGTERM or Ctrl-C;
//   - when it ends, the kernel kills all other processes of the namespace.
//
// This init has a handler for every signal and passes them on to its only
// child, the program; it waits for every process that comes to it; and it ends
// as the program ends, with the same status. Where it is not process 1,
// because the container shares a pid namespace with others, it asks for the
// orphans of its program: PR_SET_CHILD_SUBREAPER, prctl(2).
package pid1

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/hint"
)

// Name is the name by which this program is called to be an init; Path is where
// it is then to be found in the container. /dev is a file system of the
// container's own, so that the image stays as it is.
const (
	Name = "skiff-init"
	Path = "/dev/" + Name
)

// Called tells whether a program with these arguments (os.Args) is to be an
// init. A main asks this first.
func Called(args []string) bool { return len(args) > 0 && path.Base(args[0]) == Name }

// CheckMounts is an error if one of a container's own mounts takes the place where
// Mount would go: it would be the host's folder in which a file is made.
func CheckMounts(mounts []specs.Mount) error {
	for _, m := range mounts {
		if path.Clean("/"+m.Destination) == path.Dir(Path) {
			return fmt.Errorf("mount %q: a small process 1 is shown in the container's own %s, which this would cover", m.Destination, path.Dir(Path))
		}
	}
	return nil
}

// Mount shows this very program in a container, at Path. It is read-only there,
// so that whoever opens /proc/1/exe cannot write to the host's file
// (CVE-2019-5736).
//
// By its path: what /proc/self/exe leads to is a mount of the host's namespace,
// which cannot be shown in another one (EINVAL, open_tree(2)). A program that was
// started from a mount which is attached nowhere has no path; then it is the name by
// which it was called.
func Mount() (specs.Mount, error) {
	self, err := os.Executable()
	if err == nil && !isProgram(self) {
		self = os.Args[0]
		if !isProgram(self) {
			err = fmt.Errorf("%q: %w", self, os.ErrNotExist)
		}
	}
	if err != nil {
		return specs.Mount{}, fmt.Errorf("find this program, to be process 1: %w", err)
	}
	return specs.Mount{
		Destination: Path, Type: "bind", Source: self, Options: []string{"bind", "ro", "nosuid", "nodev"},
	}, nil
}

// isProgram tells whether path is absolute and that of a file.
func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && filepath.IsAbs(path) && info.Mode().IsRegular()
}

// Main runs os.Args[1:], with the environment as it is, and returns the status
// to exit with. Errors go to standard error.
func Main() int {
	if len(os.Args) < 2 {
		err := hint.Add(errors.New("no program to run"), "usage: "+Name+" PROGRAM [ARGUMENT…]")
		hint.Print(os.Stderr, Name, err)
		return initFailed
	}
	status, err := Run(os.Args[1:], os.Environ())
	if err != nil {
		hint.Print(os.Stderr, Name, err)
	}
	return status
}
