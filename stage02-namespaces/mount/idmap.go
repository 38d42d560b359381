package mount

import (
	"fmt"

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
