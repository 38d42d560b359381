package mount_test

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// Every error names the destination, gives the kernel's reason, and where
// there is a usual cause says that.
func TestErrorsNameThePlaceAndTheUsualCause(t *testing.T) {
	testkit.HostUnchanged(t)
	host := t.TempDir()
	write(t, host+"/file", "")
	for _, c := range []struct {
		mount         specs.Mount
		words, advice string
	}{
		{
			specs.Mount{Destination: "/x", Type: "nosuchfs"},
			`mount "nosuchfs" on "/x": no such device`, "is its module there? /proc/filesystems",
		},
		{
			specs.Mount{Destination: "/x", Type: "ext4", Source: host + "/missing", Options: []string{"ro"}},
			`mount "ext4" on "/x": no such file or directory`, `missing" does not exist on the host`,
		},
		{
			specs.Mount{Destination: "/x", Type: "ext4", Source: host + "/file"},
			`mount "ext4" on "/x": block device required`, "is not a block device: for a folder or a file use the option bind",
		},
		{bind(host+"/missing", "/x"), `bind mount "` + host + `/missing" on "/x": no such file`, "must exist on the host"},
		{tmpfs("/x", "size=much"), `mount "tmpfs" on "/x": option "size=much": invalid argument: tmpfs: Bad value for 'size'`, "tmpfs has no such option"},
		{tmpfs("/"), `mount "/": the root itself is root.path`, ""},
		{specs.Mount{Destination: "/x"}, `mount "/x": it has neither a type nor the option bind`, ""},
		{specs.Mount{Destination: "/x", Options: []string{"remount", "ro"}}, `remount "/x": no such file or directory`, "nothing is there"},
	} {
		_, err := attempt(t, t.TempDir(), mounts(c.mount))
		wantError(t, err, c.words, c.advice)
	}
	root := t.TempDir()
	write(t, root+"/file", "")
	mkdir(t, root+"/dir")
	for _, m := range []specs.Mount{tmpfs("/file"), bind(host, "/file"), bind(host+"/file", "/dir")} {
		_, err := attempt(t, root, mounts(m))
		wantError(t, err, "invalid argument", "a file on a file")
	}
	_, err := attempt(t, root, mounts(specs.Mount{Destination: "/dir", Options: []string{"remount", "ro"}}))
	wantError(t, err, `change attributes of mount "/dir": invalid argument`, "is something mounted there?")
}

// A destination without a slash is taken from the root: runtime-spec
// config.md, "Mounts".
func TestARelativeDestinationIsTakenFromTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	seen := mountinfo(t, container(t, t.TempDir(), mounts(tmpfs("a/b", "ro"))).Pid)
	if seen["/a/b"] != "ro,relatime" {
		t.Errorf("mounts: %v", seen)
	}
}

// Places in a read-only tmpfs are made before it is read-only.
func TestAMountGoesIntoAReadOnlyTmpfs(t *testing.T) {
	testkit.HostUnchanged(t)
	seen := mountinfo(t, container(t, t.TempDir(), mounts(tmpfs("/run", "ro"), tmpfs("/run/lock"))).Pid)
	if seen["/run"] != "ro,relatime" || seen["/run/lock"] != "rw,relatime" {
		t.Errorf("mounts: %v", seen)
	}
}
