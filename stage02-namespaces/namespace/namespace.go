// Package namespace knows the eight kinds of namespaces, and enters them: new
// ones, and those of other processes. See namespaces(7), and user_namespaces(7),
// pid_namespaces(7), time_namespaces(7) for the kinds that have rules of their
// own.
package namespace

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage02-namespaces/namespace/kind"
)

// A Kind is one of the eight kinds of namespaces, which can be opened.
type Kind struct{ kind.Kind }

// Kinds are all kinds, in the order in which they are looked at. In which order
// they are joined is in order.go.
var Kinds = kinds()

func kinds() []Kind {
	table := kind.All()
	all := make([]Kind, len(table))
	for i, k := range table {
		all[i].Kind = k
	}
	return all
}

// ByType finds a kind by its name in a container's configuration.
func ByType(t specs.LinuxNamespaceType) (Kind, error) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Type == t })
	if i < 0 {
		return Kind{}, fmt.Errorf("unknown namespace type %q", t)
	}
	return Kinds[i], nil
}

// Open opens the namespace file at path and makes sure that it is of this
// kind: ioctl_ns(2), NS_GET_NSTYPE.
func (k Kind) Open(path string) (*os.File, error) {
	// What is no namespace must not be waited for: a FIFO, or a terminal.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		err = fmt.Errorf("open %s namespace %q: %w", k.Type, path, err)
		if strings.HasPrefix(path, "/proc/") {
			err = errNoProcess(err)
		}
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	flag, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil {
		err = fmt.Errorf("open %s namespace %q: not a namespace", k.Type, path)
	} else if flag != k.Flag {
		err = fmt.Errorf("open %s namespace %q: it is a namespace of another kind (%s)", k.Type, path, nameOf(flag))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// nameOf is the type of the kind with this flag.
func nameOf(flag int) specs.LinuxNamespaceType {
	for _, k := range Kinds {
		if k.Flag == flag {
			return k.Type
		}
	}
	return "unknown"
}

// inherited tells whether f is the namespace of this kind in which a child of
// the calling thread is born.
func (k Kind) inherited(f *os.File) (bool, error) {
	var theirs unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &theirs); err != nil {
		return false, fmt.Errorf("look at %s namespace: %w", k.Type, err)
	}
	return k.inherits(theirs)
}

// inherits is inherited for what stat(2) says of a namespace. For pid and time the one
// for children is not always the thread's own: unshare(2) and setns(2) change it for
// children only.
func (k Kind) inherits(theirs unix.Stat_t) (bool, error) {
	name := k.File
	if k.Flag == unix.CLONE_NEWPID || k.Flag == unix.CLONE_NEWTIME {
		name += "_for_children"
	}
	var ours unix.Stat_t
	err := unix.Stat("/proc/thread-self/ns/"+name, &ours)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // a new pid namespace that no process has entered yet
	}
	if err != nil {
		return false, fmt.Errorf("look at our own %s namespace: %w", k.Type, err)
	}
	return theirs.Dev == ours.Dev && theirs.Ino == ours.Ino, nil
}
