package mount

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// The files of /dev: device nodes (mknod(2)) and the symbolic links that programs
// expect beside them.

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
// node that is there already stays if the parent sees that it is the right one:
// the root is then one that others have prepared. In a /dev that is a folder of
// the host, a bind mount, nothing is made: the files would be the host's.
func (r *Root) Devices(devices []specs.LinuxDevice) error {
	dev := r.plan.Register("dev")
	r.plan.Section(chapter, "devices")
	made := map[string]string{}
	for _, d := range devices {
		this := fmt.Sprint(d.Type, " ", d.Major, ":", d.Minor)
		if made[d.Path] == this || r.isHosts(d.Path) {
			continue
		}
		made[d.Path] = this
		if err := r.device(d); err != nil {
			return err
		}
	}
	if r.isHosts("/dev/fd") {
		return nil
	}
	r.plan.Add(plan.Openat2(r.fd, "dev", directory(r.resolveDevice("dev"))).Into(dev).
		Hint(unix.ELOOP, "the root file system has a symbolic link where /dev should be"))
	for _, l := range links {
		r.plan.Add(plan.Symlinkat(l.target, dev, l.name).Accept(unix.EEXIST))
	}
	return nil
}

// isHosts tells whether path is in a /dev that is the host's: a bind mount, or a
// devtmpfs, of which there is but one.
func (r *Root) isHosts(path string) bool {
	if !strings.HasPrefix(inRoot(path), "dev/") {
		return false
	}
	for _, c := range slices.Backward(r.view.covers) {
		if c.place == "dev" {
			return c.tree != "" || c.hosts
		}
	}
	return false
}

// resolveDevice says how the folder for a device is looked up: without links; and
// where the parent does not know what an image's links have made of an earlier
// mount, in no other mount than those that it knows.
func (r *Root) resolveDevice(folder string) uint64 {
	if r.view.hidden && !r.view.covered(folder) {
		return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV
	}
	return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS
}

// nodeTypes are the file types of a device's type: runtime-spec
// config-linux.md, "Devices".
var nodeTypes = meanings[uint32]{{"c", unix.S_IFCHR}, {"u", unix.S_IFCHR}, {"b", unix.S_IFBLK}, {"p", unix.S_IFIFO}}

// device adds the steps for one node. Its folder is opened without following
// symbolic links: an image whose /dev leads elsewhere must not get a node
// there (CVE-2026-41579).
func (r *Root) device(d specs.LinuxDevice) error {
	kind, ok := nodeTypes.find(d.Type)
	if !ok || !strings.HasPrefix(d.Path, "/") {
		return fmt.Errorf("device %q: want an absolute path and one of the types c, b, u, p, not %q", d.Path, d.Type)
	}
	exists, err := r.checkExisting(d, kind)
	if err != nil {
		return err
	}
	parent, name := r.folder(d), path.Base(d.Path)
	if r.user != nil && kind != unix.S_IFIFO {
		return r.borrow(d, kind, parent)
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
	if !exists {
		r.plan.Add(plan.Mknodat(parent, name, kind|mode, unix.Mkdev(uint32(d.Major), uint32(d.Minor))).
			Doing("make device %q", d.Path).
			Hint(unix.EEXIST, "the root file system has something there, which may be another file: mount a tmpfs on the folder"))
	}
	if owner != 0 || group != 0 {
		r.plan.Add(plan.Fchownat(parent, name, owner, group).Doing("change owner of device %q", d.Path))
	}
	return nil
}

// folder adds the steps that open the folder of a device, and make it where it is
// one below /dev: many ask for /dev/net/tun or /dev/cpu/0/msr.
func (r *Root) folder(d specs.LinuxDevice) (parent plan.Register) {
	parent = r.plan.Register("parent")
	names := strings.Split(inRoot(path.Dir(d.Path)), "/")
	for i, name := range names {
		if i > 0 {
			r.plan.Add(plan.Mkdirat(parent, name, 0o755).Accept(unix.EEXIST).Doing("make the folder of device %q", d.Path))
		}
		folder := path.Join(names[:i+1]...)
		r.plan.Add(plan.Openat2(r.fd, folder, directory(r.resolveDevice(folder))).Into(parent).
			Doing("open the folder of device %q", d.Path).
			Hint(unix.ENOENT, "the folder of a device must exist in the root or be a mount"))
	}
	return parent
}

// checkExisting refuses a device whose place is taken by something else, such
// as a file "null" that keeps what is thrown away, if it can be seen already;
// and tells whether the device is there.
func (r *Root) checkExisting(d specs.LinuxDevice, kind uint32) (exists bool, err error) {
	file, err := r.view.open(inRoot(d.Path), unix.O_PATH)
	if err != nil {
		return false, nil // nothing there, or not to be seen: the steps will tell
	}
	defer file.Close()
	var s unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &s); err != nil {
		return false, fmt.Errorf("device %q: %w", d.Path, err)
	}
	if !isDevice(s, d, kind) {
		return false, hint.Add(fmt.Errorf("device %q: %w", d.Path, unix.EEXIST),
			fmt.Sprintf("the root file system has something else there: mode %#o, device %d:%d",
				s.Mode, unix.Major(s.Rdev), unix.Minor(s.Rdev)))
	}
	return true, nil
}

// isDevice tells whether a file is the device.
func isDevice(s unix.Stat_t, d specs.LinuxDevice, kind uint32) bool {
	return s.Mode&unix.S_IFMT == kind &&
		(kind == unix.S_IFIFO || s.Rdev == unix.Mkdev(uint32(d.Major), uint32(d.Minor)))
}

// borrow adds the steps that show the host's own node for a device, mounted on
// an empty file: nobody makes device nodes in a user namespace, or an ordinary
// user could read every disk (user_namespaces(7)). Mode and owner remain the
// host's.
func (r *Root) borrow(d specs.LinuxDevice, kind uint32, parent plan.Register) error {
	var s unix.Stat_t
	if err := unix.Lstat(d.Path, &s); err != nil {
		return fmt.Errorf("device %q of the host: %w", d.Path, err)
	}
	if !isDevice(s, d, kind) {
		return hint.Add(fmt.Errorf("device %q of the host is not %s %d:%d: %w", d.Path, d.Type, d.Major, d.Minor, unix.ENODEV),
			"in a user namespace devices cannot be made, only shown where the host has the same one")
	}
	name, target, mounted := path.Base(d.Path), r.plan.Register("target"), r.plan.Register("mounted")
	place := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	for _, s := range []plan.Step{
		plan.Mknodat(parent, name, unix.S_IFREG|0o666, 0).Accept(unix.EEXIST),
		plan.Openat2(parent, name, place).Into(target),
		plan.OpenTree(plan.CWD, d.Path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC).Into(mounted),
		plan.MoveMount(mounted, target),
	} {
		r.plan.Add(s.Doing("show the host's device %q", d.Path))
	}
	return nil
}
