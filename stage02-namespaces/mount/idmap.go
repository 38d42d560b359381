package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/namespace"
)

// Id-mapped mounts: the same files, with other owners, in one mount only.
// mount_setattr(2), "ID-mapped mounts"; runtime-spec config.md, the options
// idmap and ridmap.

// An idMap says as whom the owners of files are shown: an owner ContainerID on
// disk is HostID in the mount, as if the disk belonged to a user namespace
// with these maps.
type idMap struct {
	uids, gids []specs.LinuxIDMapping
	recursive  bool
	user       plan.Descriptor // a user namespace with the maps, see Root.userNamespace
}

// flags are those of mount_setattr(2).
func (ids *idMap) flags() uint {
	if ids.recursive {
		return unix.AT_RECURSIVE
	}
	return 0
}

// OwnUserNamespace says that the process is in a user namespace of its own,
// with these maps. It is to be called right after NewRoot. What such a process
// may not do is then done in another way (devices, id-mapped mounts), and
// errors know the usual causes.
func (r *Root) OwnUserNamespace(uids, gids []specs.LinuxIDMapping) {
	r.user = &idMap{uids: uids, gids: gids}
}

// idMap is the one that a mount asks for, or nil. Maps without the word idmap
// are no less meant: the specification only recommends to say both.
func (r *Root) idMap(m specs.Mount, o Options) (*idMap, error) {
	ids := &idMap{uids: m.UIDMappings, gids: m.GIDMappings, recursive: o.IDMapRecursive}
	if len(ids.uids)+len(ids.gids) == 0 {
		if !o.IDMap {
			return nil, nil
		}
		if r.user == nil {
			return nil, hint.Add(fmt.Errorf("mount %q: option \"idmap\", but there is no id map: %w", m.Destination, unix.EINVAL),
				"give the mount uidMappings and gidMappings, or the container a user namespace")
		}
		ids.uids, ids.gids = r.user.uids, r.user.gids
	}
	if len(ids.uids) == 0 || len(ids.gids) == 0 {
		return nil, fmt.Errorf("mount %q: uidMappings and gidMappings must be given together: %w", m.Destination, unix.EINVAL)
	}
	return ids, r.userNamespace(ids, m.Destination)
}

// keep notes a file that the child needs; Close gives it back.
func (r *Root) keep(file *os.File, name string) plan.Descriptor {
	r.files = append(r.files, file)
	return plan.Descriptor{Number: int(file.Fd()), Name: name}
}

// Close gives back the descriptors that Mount has opened for the child. Call
// it when the process has been started, or will not be.
func (r *Root) Close() error {
	var errs []error
	for _, file := range r.files {
		errs = append(errs, file.Close())
	}
	r.files = nil
	return errors.Join(errs...)
}

// setIDMap adds the step that id-maps a mount, if ids is not nil. The mount is
// attached nowhere yet, which the kernel demands.
func (r *Root) setIDMap(mounted plan.FD, dest string, ids *idMap) {
	if ids == nil {
		return
	}
	step := plan.MountSetattrIDMap(mounted, ids.flags(), ids.user)
	r.plan.Add(step.Doing("id-map mount %q", dest).
		Hint(unix.EINVAL, notIDMappable).
		Hint(unix.EPERM, "id-mapping needs CAP_SYS_ADMIN in the user namespace of the file system"))
}

// notIDMappable is the usual cause.
const notIDMappable = "the file system cannot be id-mapped (see mount_setattr(2) for those that can), or is id-mapped already"

// handOver opens the source of a bind mount here, in the parent, and returns
// the copy of the tree for the child to put into place. That is needed
//
//   - for an id map, when the child has a user namespace of its own: only who
//     rules over the file system may change what its owners mean;
//   - for a shared mount, because the child's own copy of the host's mounts is
//     cut off from it: see Detach.
func (r *Root) handOver(m specs.Mount, flags uint, ids *idMap) (plan.FD, error) {
	doing := fmt.Sprintf("bind mount %q on %q", m.Source, m.Destination)
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, flags)
	if err != nil {
		var errno unix.Errno
		errors.As(err, &errno)
		return nil, hint.Add(fmt.Errorf("%s: open mount: %w", doing, err), plan.UsualCause("mount", errno))
	}
	tree := r.keep(os.NewFile(uintptr(fd), m.Source), "tree:"+m.Destination)
	if ids == nil {
		return tree, nil
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ids.user.Number)}
	if err := unix.MountSetattr(fd, "", ids.flags()|unix.AT_EMPTY_PATH, &attr); err != nil {
		err = fmt.Errorf("%s: id-map: %w", doing, err)
		if errors.Is(err, unix.EINVAL) {
			err = hint.Add(err, notIDMappable)
		}
		return nil, err
	}
	return tree, nil
}

// userNamespace opens a user namespace with the maps, for the kernel to read
// them from; one is enough for all mounts that have the same.
func (r *Root) userNamespace(ids *idMap, dest string) error {
	key := fmt.Sprint(ids.uids, ids.gids)
	if known, ok := r.users[key]; ok {
		ids.user = known
		return nil
	}
	file, err := namespace.NewUser(ids.uids, ids.gids)
	if err != nil {
		return fmt.Errorf("mount %q: make a user namespace with its id maps: %w", dest, err)
	}
	ids.user = r.keep(file, fmt.Sprintf("user%d", len(r.users)))
	if r.users == nil {
		r.users = map[string]plan.Descriptor{}
	}
	r.users[key] = ids.user
	return nil
}

// inContainer is an id of the host as the container's user namespace has it.
func inContainer(id uint32, maps []specs.LinuxIDMapping) (mapped int, ok bool) {
	for _, m := range maps {
		if id >= m.HostID && uint64(id) < uint64(m.HostID)+uint64(m.Size) {
			return int(id - m.HostID + m.ContainerID), true
		}
	}
	return 0, false
}

// badOption is why a file system may refuse the option key.
func (r *Root) badOption(fstype, key string) string {
	if r.user != nil && (key == "uid" || key == "gid") {
		return fmt.Sprintf("%s= takes an id that is mapped in the container's user namespace (gid=5 of devpts often is not)", key)
	}
	return fmt.Sprintf("%s has no such option, or not with this value", fstype)
}

// causes adds the usual causes to a step that makes a file system.
func (r *Root) causes(s plan.Step, m specs.Mount) plan.Step {
	s = s.Hint(unix.ENODEV, fmt.Sprintf("the kernel does not know file system type %q: is its module there? /proc/filesystems lists what is", m.Type)).
		Hint(unix.EBUSY, fmt.Sprintf("%q is mounted already, in another way", or(m.Source, m.Type)))
	if strings.HasPrefix(m.Source, "/") {
		s = s.Hint(unix.ENOENT, fmt.Sprintf("the source %q does not exist on the host", m.Source)).
			Hint(unix.ENOTBLK, fmt.Sprintf("%q is not a block device: for a folder or a file use the option bind", m.Source))
	}
	if r.user == nil {
		return s
	}
	return s.Hint(unix.EPERM, map[string]string{
		"proc": "the kernel allows a new proc only to a process that sees all of an old one: " +
			"nothing may be mounted below /proc out here, or bind mount /proc (rbind)",
		"sysfs": "sysfs shows a network: without a network namespace of its own, " +
			"a user namespace cannot mount it; bind mount /sys instead (rbind)",
	}[m.Type])
}
