package container

import (
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/mount"
)

// The container's side of a terminal: a pseudoterminal in a devpts file system
// of its own: pty(7).

// A terminal is a pseudoterminal of the container, made by the parent: pty(7),
// devpts(5).
//
// Its devpts file system is the very one that the container will see, so that
// ttyname(3) works in there; the parent makes it and hands the mount over,
// still attached nowhere. The slave comes from the master itself
// (TIOCGPTPEER): nothing is looked up by name in a file system that the
// container could have changed (CVE-2025-52565).
type terminal struct{ devpts, master, slave *os.File }

// newTerminal makes a terminal with the options that the configuration gives
// for its devpts mount, which it must have.
func newTerminal(spec *specs.Spec) (*terminal, error) {
	t := &terminal{}
	for _, m := range spec.Mounts {
		if m.Type == "devpts" {
			err := t.open(m)
			if err == nil {
				err = t.giveTo(spec)
			}
			if err != nil {
				return nil, errors.Join(fmt.Errorf("make a terminal: %w", err), t.Close())
			}
			return t, nil
		}
	}
	return nil, errors.New("process.terminal is set, but no mount is of type devpts")
}

// open makes the file system, and in it the two ends.
func (t *terminal) open(m specs.Mount) (err error) {
	if t.devpts, err = mountDevpts(m); err != nil {
		return err
	}
	return t.openEnds(fmt.Sprintf("/proc/self/fd/%d/ptmx", t.devpts.Fd()))
}

// openEnds opens a new pair of ends.
func (t *terminal) openEnds(ptmx string) error {
	master, err := unix.Open(ptmx, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open ptmx: %w", err)
	}
	t.master = os.NewFile(uintptr(master), "ptmx")
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock the slave: %w", err)
	}
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER,
		unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return fmt.Errorf("open the slave: %w", errno)
	}
	t.slave = os.NewFile(slave, "slave")
	return nil
}

// terminalIn makes a terminal in the /dev/pts of a container that runs. What is
// there is the container's to change, so it is only used if it is what it looks
// like: the multiplexer of a devpts file system. It is looked at by descriptor,
// and that is what is opened.
func terminalIn(pid int, spec *specs.Spec) (*terminal, error) {
	place, err := oci.OpenInRoot(pid, "dev/pts/ptmx")
	if err != nil {
		return nil, hint.Add(fmt.Errorf("make a terminal: %w", err), "a container without a devpts file system on /dev/pts has no terminals")
	}
	defer place.Close()
	var fs unix.Statfs_t
	var node unix.Stat_t
	if err := errors.Join(unix.Fstatfs(int(place.Fd()), &fs), unix.Fstat(int(place.Fd()), &node)); err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	if fs.Type != unix.DEVPTS_SUPER_MAGIC || node.Mode&unix.S_IFMT != unix.S_IFCHR || node.Rdev != unix.Mkdev(5, 2) {
		return nil, errors.New(`make a terminal: "/dev/pts/ptmx" of the container is no terminal multiplexer`)
	}
	t := &terminal{}
	err = t.openEnds(fmt.Sprintf("/proc/self/fd/%d", place.Fd()))
	if err == nil {
		err = t.giveTo(spec)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a terminal: %w", err), t.Close())
	}
	return t, nil
}

// giveTo makes the container's user the owner of the terminal, so that he can open
// it again by its name, as login(1) does, and gives it the size that the
// configuration says.
func (t *terminal) giveTo(spec *specs.Spec) error {
	uid := hostID(spec.Linux.UIDMappings, spec.Process.User.UID)
	if err := t.slave.Chown(uid, -1); err != nil {
		return fmt.Errorf("give it to user %d: %w", uid, errors.Unwrap(err))
	}
	if size := spec.Process.ConsoleSize; size != nil {
		window := &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}
		if err := unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, window); err != nil {
			return fmt.Errorf("make it %d rows high and %d columns wide: %w", size.Height, size.Width, err)
		}
	}
	return nil
}

// hostID is what an id of the container is on the host; without a map, itself.
func hostID(mappings []specs.LinuxIDMapping, id uint32) int {
	for _, m := range mappings {
		if m.ContainerID <= id && id-m.ContainerID < m.Size {
			return int(id-m.ContainerID) + int(m.HostID)
		}
	}
	return int(id)
}

// mountDevpts makes a devpts file system that is attached nowhere.
func mountDevpts(m specs.Mount) (*os.File, error) {
	o, err := mount.ParseOptions(m.Options)
	if err != nil {
		return nil, err
	}
	fs, err := unix.Fsopen("devpts", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open file system devpts: %w", err)
	}
	defer unix.Close(fs)
	for _, data := range append([]string{"source=devpts"}, o.Data...) {
		key, value, hasValue := strings.Cut(data, "=")
		if hasValue {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return nil, fmt.Errorf("set devpts option %q: %w", data, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("create file system devpts: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(o.Attributes.Set))
	if err != nil {
		return nil, fmt.Errorf("mount devpts: %w", err)
	}
	return os.NewFile(uintptr(fd), "devpts"), nil
}

// forPlan names the two descriptors that the plan needs.
func (t *terminal) forPlan() *oci.Terminal {
	if t == nil {
		return nil
	}
	named := &oci.Terminal{Slave: plan.Descriptor{Number: int(t.slave.Fd()), Name: "slave"}}
	if t.devpts != nil { // a new one, which is to be the container's
		named.Devpts = plan.Descriptor{Number: int(t.devpts.Fd()), Name: "devpts"}
	}
	return named
}

// handedOver closes what only the container needs: while the parent holds the
// slave, the master never reads the end.
func (t *terminal) handedOver() error {
	if t == nil {
		return nil
	}
	return errors.Join(closeFile(&t.devpts), closeFile(&t.slave))
}

// Close closes all ends.
func (t *terminal) Close() error {
	if t == nil {
		return nil
	}
	return errors.Join(closeFile(&t.devpts), closeFile(&t.slave), closeFile(&t.master))
}

// closeFile closes *f, once.
func closeFile(f **os.File) error {
	if *f == nil {
		return nil
	}
	err := (*f).Close()
	*f = nil
	return err
}
