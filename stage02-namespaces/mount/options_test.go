package mount_test

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/mount"
)

// set, unset and atime say one thing about a mount.
func set(bits uint64) mount.Options { return mount.Options{Attributes: mount.Attributes{Set: bits}} }

func unset(bits uint64) mount.Options {
	return mount.Options{Attributes: mount.Attributes{Clear: bits}}
}

func atime(kind uint64) mount.Options {
	return mount.Options{Attributes: mount.Attributes{Set: kind, Clear: unix.MOUNT_ATTR__ATIME}}
}

// recursive says the same of all mounts below.
func recursive(o mount.Options) mount.Options {
	return mount.Options{RecursiveAttributes: o.Attributes}
}

// travel is a propagation.
func travel(kind uint64, recursive bool) mount.Options {
	return mount.Options{Propagation: []mount.Propagation{{Kind: kind, Recursive: recursive}}}
}

// data is a word for the file system.
func data(word string) mount.Options { return mount.Options{Data: []string{word}} }

// words is the table of runtime-spec config.md, "Linux mount options", in its
// order.
var words = []struct {
	word string
	want mount.Options
}{
	{"async", data("async")},
	{"atime", atime(unix.MOUNT_ATTR_RELATIME)},
	{"bind", mount.Options{Bind: true}},
	{"defaults", mount.Options{}},
	{"dev", unset(unix.MOUNT_ATTR_NODEV)},
	{"diratime", unset(unix.MOUNT_ATTR_NODIRATIME)},
	{"dirsync", data("dirsync")},
	{"exec", unset(unix.MOUNT_ATTR_NOEXEC)},
	{"iversion", mount.Options{IVersion: true}},
	{"lazytime", data("lazytime")},
	{"loud", mount.Options{}},
	{"mand", data("mand")},
	{"noatime", atime(unix.MOUNT_ATTR_NOATIME)},
	{"nodev", set(unix.MOUNT_ATTR_NODEV)},
	{"nodiratime", set(unix.MOUNT_ATTR_NODIRATIME)},
	{"noexec", set(unix.MOUNT_ATTR_NOEXEC)},
	{"noiversion", mount.Options{}},
	{"nolazytime", data("nolazytime")},
	{"nomand", data("nomand")},
	{"norelatime", atime(unix.MOUNT_ATTR_STRICTATIME)},
	{"nostrictatime", atime(unix.MOUNT_ATTR_RELATIME)},
	{"nosuid", set(unix.MOUNT_ATTR_NOSUID)},
	{"nosymfollow", set(unix.MOUNT_ATTR_NOSYMFOLLOW)},
	{"private", travel(unix.MS_PRIVATE, false)},
	{"ratime", recursive(atime(unix.MOUNT_ATTR_RELATIME))},
	{"rbind", mount.Options{Bind: true, Recursive: true}},
	{"rdev", recursive(unset(unix.MOUNT_ATTR_NODEV))},
	{"rdiratime", recursive(unset(unix.MOUNT_ATTR_NODIRATIME))},
	{"relatime", atime(unix.MOUNT_ATTR_RELATIME)},
	{"remount", mount.Options{Remount: true}},
	{"rexec", recursive(unset(unix.MOUNT_ATTR_NOEXEC))},
	{"rnoatime", recursive(atime(unix.MOUNT_ATTR_NOATIME))},
	{"rnodev", recursive(set(unix.MOUNT_ATTR_NODEV))}, // not in the table, but meant
	{"rnodiratime", recursive(set(unix.MOUNT_ATTR_NODIRATIME))},
	{"rnoexec", recursive(set(unix.MOUNT_ATTR_NOEXEC))},
	{"rnorelatime", recursive(atime(unix.MOUNT_ATTR_STRICTATIME))},
	{"rnostrictatime", recursive(atime(unix.MOUNT_ATTR_RELATIME))},
	{"rnosuid", recursive(set(unix.MOUNT_ATTR_NOSUID))},
	{"rnosymfollow", recursive(set(unix.MOUNT_ATTR_NOSYMFOLLOW))},
	{"ro", set(unix.MOUNT_ATTR_RDONLY)},
	{"rprivate", travel(unix.MS_PRIVATE, true)},
	{"rrelatime", recursive(atime(unix.MOUNT_ATTR_RELATIME))},
	{"rro", recursive(set(unix.MOUNT_ATTR_RDONLY))},
	{"rrw", recursive(unset(unix.MOUNT_ATTR_RDONLY))},
	{"rshared", travel(unix.MS_SHARED, true)},
	{"rslave", travel(unix.MS_SLAVE, true)},
	{"rstrictatime", recursive(atime(unix.MOUNT_ATTR_STRICTATIME))},
	{"rsuid", recursive(unset(unix.MOUNT_ATTR_NOSUID))},
	{"rsymfollow", recursive(unset(unix.MOUNT_ATTR_NOSYMFOLLOW))},
	{"runbindable", travel(unix.MS_UNBINDABLE, true)},
	{"rw", unset(unix.MOUNT_ATTR_RDONLY)},
	{"shared", travel(unix.MS_SHARED, false)},
	{"silent", mount.Options{}},
	{"slave", travel(unix.MS_SLAVE, false)},
	{"strictatime", atime(unix.MOUNT_ATTR_STRICTATIME)},
	{"suid", unset(unix.MOUNT_ATTR_NOSUID)},
	{"symfollow", unset(unix.MOUNT_ATTR_NOSYMFOLLOW)},
	{"sync", data("sync")},
	{"tmpcopyup", mount.Options{TmpCopyUp: true}},
	{"unbindable", travel(unix.MS_UNBINDABLE, false)},

	{"idmap", mount.Options{IDMap: true}},
	{"ridmap", mount.Options{IDMap: true, IDMapRecursive: true}},

	{"", mount.Options{}},
	{"size=64k", data("size=64k")},
	{"rubbish", data("rubbish")},
}

func TestEachWordOfTheSpecification(t *testing.T) {
	for _, w := range words {
		got, err := mount.ParseOptions([]string{w.word})
		if err != nil || !reflect.DeepEqual(got, w.want) {
			t.Errorf("%s: got  %+v, %v\n\twant %+v", w.word, got, err, w.want)
		}
	}
}

func TestWordsThatExcludeEachOtherAreRefused(t *testing.T) {
	for _, words := range []string{"bind tmpcopyup", "rbind tmpcopyup", "remount tmpcopyup", "remount idmap", "remount iversion"} {
		_, err := mount.ParseOptions(strings.Fields(words))
		if err == nil || !strings.Contains(err.Error(), strings.Fields(words)[1]) {
			t.Errorf("%s: error %v", words, err)
		}
	}
}

func TestALaterWordBeatsAnEarlierOne(t *testing.T) {
	got, err := mount.ParseOptions([]string{"ro", "noatime", "ridmap", "rw", "strictatime", "idmap", "iversion", "noiversion"})
	want := mount.Options{
		Attributes: mount.Attributes{Set: unix.MOUNT_ATTR_STRICTATIME, Clear: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR__ATIME},
		IDMap:      true,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// Words for the file system that the kernel itself understands must work.
func TestTheKernelTakesTheWordsMeantForIt(t *testing.T) {
	testkit.HostUnchanged(t)
	container(t, t.TempDir(), mounts(tmpfs("/a", "sync", "dirsync", "lazytime", "size=64k", "mode=700")))
	_, err := attempt(t, t.TempDir(), mounts(tmpfs("/a", "rubbish")))
	const want = `mount "tmpfs" on "/a": option "rubbish": invalid argument: tmpfs: Unknown parameter 'rubbish'`
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
