package mount_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage02-namespaces/namespace"
)

// ids is an id map of one range.
func ids(inside, outside, size uint32) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: inside, HostID: outside, Size: size}}
}

// own is a container with a user namespace, whose root is the host's 100000,
// and with all that a mount of each kind asks for.
var own = world{
	kinds: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
	ids:   ids(0, 100_000, 65_536),
}

// mapped is a mount with maps of its own.
func mapped(m specs.Mount, maps []specs.LinuxIDMapping) specs.Mount {
	m.UIDMappings, m.GIDMappings = maps, maps
	return m
}

// ownerSeen is the owner of a path in the container, as the host counts.
func ownerSeen(t *testing.T, path string) int {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Error(err)
		return -1
	}
	if s.Uid != s.Gid {
		t.Errorf("%s: owner %d, group %d", path, s.Uid, s.Gid)
	}
	return int(s.Uid)
}

// idMappable is an empty folder in a file system of which mounts can be id-mapped,
// which is found by trying. A folder for temporary files need not be in one: a
// tmpfs can be id-mapped since Linux 6.3, and an overlay, as in most containers,
// not at all.
func idMappable(t *testing.T) string {
	t.Helper()
	for _, parent := range []string{os.TempDir(), "/var/tmp", "."} {
		dir, err := os.MkdirTemp(parent, "idmap")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err := errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		if dir, err = filepath.Abs(dir); err == nil && idMaps(t, tree) {
			return dir
		}
	}
	testkit.Missing(t, "needs a file system that can be id-mapped, such as ext4, below TMPDIR, /var/tmp or here: mount_setattr(2)")
	return ""
}

// idMaps tells whether a mount that is attached nowhere can be id-mapped, and
// closes it.
func idMaps(t *testing.T, tree int) bool {
	t.Helper()
	user, err := namespace.NewUser(ids(0, 1, 1), ids(0, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(user.Fd())}
	tried := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr)
	if err := errors.Join(user.Close(), unix.Close(tree)); err != nil {
		t.Fatal(err)
	}
	if tried != nil && !errors.Is(tried, unix.EINVAL) {
		t.Fatal(tried)
	}
	return tried == nil
}

// owned is a folder of the host with a file that belongs to owner, and the
// same below in a folder that can be a mount of its own.
func owned(t *testing.T, owner int) string {
	t.Helper()
	dir := idMappable(t)
	mkdir(t, dir+"/below")
	for _, path := range []string{dir + "/file", dir + "/below/file"} {
		write(t, path, "")
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAnIDMappedMountShowsOtherOwners(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := owned(t, 1000)
	c := container(t, t.TempDir(), mounts(
		bind(dir, "/plain"),
		mapped(bind(dir, "/word", "idmap"), ids(1000, 2000, 1)),
		mapped(bind(dir, "/no-word"), ids(0, 50_000, 65_536)),
		mapped(bind(dir, "/read-only", "idmap", "ro"), ids(1000, 2000, 1)),
		mapped(bind(dir, "/not-in-the-map", "idmap"), ids(0, 0, 10)),
	))
	for path, want := range map[string]int{
		"/plain/file": 1000, "/word/file": 2000, "/no-word/file": 51_000, "/read-only/file": 2000,
		"/not-in-the-map/file": 65_534,
	} {
		if got := ownerSeen(t, inside(c, path)); got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
		}
	}
	if got := mountinfo(t, c.Pid)["/read-only"]; got != "ro,relatime,idmapped" {
		t.Errorf("/read-only is %q", got)
	}
}

// A new file system can be id-mapped, too; a tmpfs since Linux 6.3. Before that the
// hint says so.
func TestANewFileSystemIsIDMapped(t *testing.T) {
	testkit.HostUnchanged(t)
	c, err := attempt(t, t.TempDir(), mounts(mapped(tmpfs("/new", "uid=7", "gid=7", "idmap", "mode=1777"), ids(7, 70, 1))))
	if errors.Is(err, unix.EINVAL) {
		wantError(t, err, `id-map mount "/new": invalid argument`, "tmpfs since 6.3")
		testkit.Missing(t, "needs a kernel that id-maps a tmpfs, as Linux does since 6.3")
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := ownerSeen(t, inside(c, "/new")); got != 70 {
		t.Errorf("/new belongs to %d, want 70", got)
	}
}

func TestRidmapReachesTheMountsBelowAndIdmapDoesNot(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := owned(t, 1000)
	privately(t, func() {
		if err := unix.Mount(dir+"/below", dir+"/below", "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		c := container(t, t.TempDir(), mounts(
			mapped(bind(dir, "/top", "rbind", "idmap"), ids(1000, 2000, 1)),
			mapped(bind(dir, "/all", "rbind", "ridmap"), ids(1000, 2000, 1)),
		))
		for path, want := range map[string]int{"/top/file": 2000, "/top/below/file": 1000, "/all/file": 2000, "/all/below/file": 2000} {
			if got := ownerSeen(t, inside(c, path)); got != want {
				t.Errorf("%s belongs to %d, want %d", path, got, want)
			}
		}
	})
}

// A child in a user namespace of its own must not id-map what is the host's:
// the parent does it before.
func TestIdmapWithoutMapsTakesThoseOfTheContainer(t *testing.T) {
	testkit.HostUnchanged(t)
	dir, root := owned(t, 5), ownRoot(t)
	c, err := own.attempt(t, root, mounts(
		bind(dir, "/plain"), bind(dir, "/mapped", "idmap"), bind(dir, "/all", "rbind", "ridmap", "ro"),
		mapped(bind(dir, "/other", "idmap"), ids(5, 100_009, 1)),
	))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/plain/file": 5, "/mapped/file": 100_005, "/all/file": 100_005, "/other/file": 100_009} {
		if got := ownerSeen(t, inside(c, path)); got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
		}
	}
}

// ownRoot is a root that the container's root may write to.
func ownRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chown(root, 100_000, 100_000); err != nil {
		t.Fatal(err)
	}
	// The container's process walks there as 100000.
	for dir := root; dir != "/"; dir = parentOf(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode()&0o001 == 0 {
			if err := os.Chmod(dir, info.Mode()|0o001); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func TestIdmapIsNeverSilentlyIgnored(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	try := func(m specs.Mount) error {
		_, err := attempt(t, t.TempDir(), mounts(m))
		return err
	}
	wantError(t, try(bind(dir, "/x", "idmap")), `mount "/x": option "idmap", but there is no id map`, "give the mount uidMappings")
	wantError(t, try(bind(dir, "/x", "ridmap")), "no id map", "a user namespace")
	half := bind(dir, "/x", "idmap")
	half.UIDMappings = ids(0, 1, 1)
	wantError(t, try(half), "uidMappings and gidMappings must be given together", "")
	proc := mapped(specs.Mount{Destination: "/proc", Type: "proc"}, ids(0, 1, 1))
	wantError(t, try(proc), `id-map mount "/proc": invalid argument`, "cannot be id-mapped, not by this kernel")
	_, err := own.attempt(t, ownRoot(t), mounts(bind("/proc/self/status", "/x", "idmap"))) // done by the parent
	wantError(t, err, `id-map: invalid argument`, "cannot be id-mapped, not by this kernel")
	twice := append(ids(0, 1, 5), ids(0, 9, 5)...)
	if err := try(mapped(bind(dir, "/x"), twice)); err == nil {
		t.Error("overlapping maps were taken")
	}
	_, err = own.attempt(t, ownRoot(t), mounts(tmpfs("/x", "idmap")))
	wantError(t, err, `mount "tmpfs" on "/x": id-mapped in a user namespace of its own`, "use a bind mount")
	if !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}

// What the parent has opened for the child is given back by Close, and the
// plan names it without numbers.
func TestDescriptorsOfTheParentAreGivenBack(t *testing.T) {
	testkit.HostUnchanged(t)
	p := &plan.Plan{}
	before := openFiles(t)
	r := mount.NewRoot(p, t.TempDir())
	dir := t.TempDir()
	if err := mounts(mapped(bind(dir, "/a", "idmap"), ids(0, 1, 1)), mapped(bind(dir, "/b", "idmap"), ids(0, 1, 1)),
		mapped(bind(dir, "/c", "ridmap"), ids(0, 2, 1)))(p, r); err != nil {
		t.Fatal(err)
	}
	if got := openFiles(t); got != before+2 {
		t.Errorf("%d files are open for two different maps", got-before)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := openFiles(t); got != before {
		t.Errorf("%d files are open after Close", got-before)
	}
	for _, want := range []string{"{attr_set=MOUNT_ATTR_IDMAP, attr_clr=0, propagation=0, userns_fd=user0}", "userns_fd=user1"} {
		wantText(t, p.String(), want)
	}
}
