package overlay

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage02-namespaces/namespace"
)

// Layers for a container whose ids are others than on disk: "ID-mapped mounts" in
// mount_setattr(2), which overlayfs takes as its directories since Linux 5.19. On
// disk a file of the image's root belongs to 0, for all containers. In this stack
// it belongs to whom the container's user namespace has as 0, and what that one
// writes is 0's on disk again. Without it the whole image would have to be copied,
// only to give every file another owner.

// IDMapped mounts the stack where nobody sees it, with these maps on all of its
// directories, and returns the mount: attached nowhere, for Attach. A process in
// the user namespace could not make it: only who may do everything to the disk's
// file system may map its ids (mount_setattr(2), EPERM).
func (s Stack) IDMapped(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("stack layers: %w", err)
	}
	user, err := namespace.NewUser(uids, gids)
	if err != nil {
		return nil, fmt.Errorf("make a user namespace with the id maps of the layers: %w", err)
	}
	defer user.Close()
	p := &plan.Plan{}
	mount.Detach(p, unix.MS_PRIVATE)
	s.mapAll(p, plan.Descriptor{Number: int(user.Fd()), Name: "user"})
	// The stack needs a place for a moment. That of a layer is as good as any: the
	// layer itself has been found by then.
	place := s.Lower[0]
	if err := s.Steps(p, place); err != nil {
		return nil, err
	}
	return inNewMounts(func() (int, error) {
		if err := becomeFirst(uids, gids); err != nil {
			return -1, err
		}
		if err := plan.Run(p); err != nil {
			return -1, err
		}
		return takeMount(place)
	})
}

// becomeFirst makes files of this thread those of the first ids in the maps.
// Overlayfs works in the upper directory as who has mounted it, and in an id-mapped
// mount nobody makes files whose id is not in the map: root is not (EOVERFLOW; the
// stack would be read-only). Root's rights on files go with its id, setfsuid(2), and
// are taken back: capset(2).
func becomeFirst(uids, gids []specs.LinuxIDMapping) error {
	if _, err := unix.SetfsgidRetGid(int(gids[0].HostID)); err != nil {
		return fmt.Errorf("setfsgid: %w", err)
	}
	if _, err := unix.SetfsuidRetUid(int(uids[0].HostID)); err != nil {
		return fmt.Errorf("setfsuid: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	if err == nil {
		sets[0].Effective, sets[1].Effective = sets[0].Permitted, sets[1].Permitted
		err = unix.Capset(&header, &sets[0])
	}
	if err != nil {
		return fmt.Errorf("keep the rights on files: %w", err)
	}
	return nil
}

// mapAll covers each directory with an id-mapped view of itself. Upper and Work
// must be in one mount: it is the directory around them that is covered.
func (s Stack) mapAll(p *plan.Plan, user plan.Descriptor) {
	dirs := s.Lower
	if s.Upper != "" {
		dirs = append([]string{filepath.Dir(s.Upper)}, dirs...)
	}
	p.Section(chapter, "map the owners of all files")
	mounted := p.Register("mounted")
	for _, dir := range dirs {
		p.Add(
			plan.OpenTree(plan.CWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC).Into(mounted).Doing("open layer %q", dir),
			plan.MountSetattrIDMap(mounted, 0, user).Doing("id-map layer %q", dir).
				Hint(unix.EINVAL, "the file system of this layer has no id-mapped mounts"),
		)
		attach(p, mounted, dir)
		p.Add(plan.Close(mounted))
	}
}

// Attach adds the steps that put the mount from IDMapped on target. The process
// has a mount namespace of its own.
func Attach(p *plan.Plan, layers *os.File, target string) {
	p.Section(chapter, "stack the layers")
	attach(p, plan.Descriptor{Number: int(layers.Fd()), Name: "layers"}, target)
}

// inNewMounts runs f on a thread with mounts and descriptors of its own, which end
// with it, whatever f leaves behind: unshare(2). The descriptor that f returns comes
// out by a socket: unix(7), SCM_RIGHTS.
func inNewMounts(f func() (int, error)) (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FILES); err != nil {
			return fmt.Errorf("unshare mount namespace: %w", err)
		}
		fd, err := f()
		if err != nil {
			return err
		}
		return unix.Sendmsg(pair[1], []byte{0}, unix.UnixRights(fd), nil, 0)
	}); err != nil {
		return nil, err
	}
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive the mount of the layers: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("receive the mount of the layers: %d messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, fmt.Errorf("receive the mount of the layers: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "layers"), nil
}

// onThread runs f on a thread that ends with it.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this goroutine
		if unix.Gettid() == unix.Getpid() {
			// The first thread of a process does not end. It waits, locked up,
			// so that the other goroutine gets another one.
			err := onThread(f)
			runtime.UnlockOSThread()
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}
