package mount

import (
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The files of /dev: device nodes (mknod(2)), the symbolic links that programs
// expect beside them, and the terminal as /dev/console (pts(4)).

// DefaultDevices are the devices that every container has: runtime-spec
// config-linux.md, "Default Devices"; null(4), full(4), random(4), tty(4).
func DefaultDevices() []specs.LinuxDevice {
	device := func(name string, major, minor int64) specs.LinuxDevice {
		return specs.LinuxDevice{Path: "/dev/" + name, Type: "c", Major: major, Minor: minor} // 0666, root's
	}
	return []specs.LinuxDevice{
		device("null", 1, 3), device("zero", 1, 5), device("full", 1, 7),
		device("random", 1, 8), device("urandom", 1, 9), device("tty", 5, 0),
	}
}

// links are the symbolic links of /dev: runtime-spec config-linux.md,
// "Default Filesystems" names their targets, devpts(5) that of ptmx.
var links = []struct{ target, name string }{
	{"/proc/self/fd", "fd"},
	{"/proc/self/fd/0", "stdin"},
	{"/proc/self/fd/1", "stdout"},
	{"/proc/self/fd/2", "stderr"},
	{"pts/ptmx", "ptmx"},
}

// Devices adds the steps that make device nodes, and the symbolic links of
// /dev. The umask must be 0, so that they get the mode that they should. A
// node that is there already stays: the root is then one that others have
// prepared.
func (r *Root) Devices(devices []specs.LinuxDevice) error {
	dev := r.plan.Register("dev")
	r.plan.Section(chapter, "devices")
	for _, d := range devices {
		if err := r.device(d); err != nil {
			return err
		}
	}
	r.plan.Add(plan.Openat2(r.fd, "dev", directory(unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)).Into(dev).
		Hint(unix.ELOOP, "the root file system has a symbolic link where /dev should be"))
	for _, l := range links {
		r.plan.Add(plan.Symlinkat(l.target, dev, l.name).Accept(unix.EEXIST))
	}
	return nil
}

// device adds the steps for one node. Its folder is opened without following
// symbolic links: an image whose /dev leads elsewhere must not get a node
// there (CVE-2026-41579).
func (r *Root) device(d specs.LinuxDevice) error {
	kind, ok := map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}[d.Type]
	if !ok || !strings.HasPrefix(d.Path, "/") {
		return fmt.Errorf("device %q: want an absolute path and one of the types c, b, u, p, not %q", d.Path, d.Type)
	}
	mode, owner, group := uint32(0o666), 0, 0
	if d.FileMode != nil {
		mode = uint32(d.FileMode.Perm())
	}
	if d.UID != nil {
		owner = int(*d.UID)
	}
	if d.GID != nil {
		group = int(*d.GID)
	}
	parent, name := r.plan.Register("parent"), path.Base(d.Path)
	r.plan.Add(
		plan.Openat2(r.fd, inRoot(path.Dir(d.Path)), directory(unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)).Into(parent).
			Doing("open the folder of device %q", d.Path).
			Hint(unix.ENOENT, "the folder of a device must exist in the root or be a mount"),
		plan.Mknodat(parent, name, kind|mode, unix.Mkdev(uint32(d.Major), uint32(d.Minor))).
			Accept(unix.EEXIST).Doing("make device %q", d.Path),
	)
	if owner != 0 || group != 0 {
		r.plan.Add(plan.Fchownat(parent, name, owner, group).Doing("change owner of device %q", d.Path))
	}
	return nil
}

// Console adds the steps that make the terminal that slave is open on also
// the file /dev/console, as the specification wants it.
func (r *Root) Console(slave plan.FD) {
	mounted := r.plan.Register("mounted")
	r.plan.Section(chapter, "console")
	target := r.point("/dev/console", true, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
	for _, s := range []plan.Step{
		plan.OpenTree(slave, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH).Into(mounted),
		plan.MoveMount(mounted, target),
	} {
		r.plan.Add(s.Doing("mount the terminal on /dev/console"))
	}
}
