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

// data is a word for the file system.
func data(word string) mount.Options { return mount.Options{Data: []string{word}} }

// words is the table of runtime-spec config.md, "Linux mount options", in its
// order.
var words = []struct {
	word string
	want mount.Options
}{
	{"async", mount.Options{}},
	{"atime", atime(unix.MOUNT_ATTR_RELATIME)},
	{"bind", mount.Options{Bind: true}},
	{"defaults", mount.Options{}},
	{"dev", unset(unix.MOUNT_ATTR_NODEV)},
	{"diratime", unset(unix.MOUNT_ATTR_NODIRATIME)},
	{"dirsync", data("dirsync")},
	{"exec", unset(unix.MOUNT_ATTR_NOEXEC)},
	{"iversion", data("iversion")},
	{"lazytime", data("lazytime")},
	{"loud", mount.Options{}},
	{"mand", data("mand")},
	{"noatime", atime(unix.MOUNT_ATTR_NOATIME)},
	{"nodev", set(unix.MOUNT_ATTR_NODEV)},
	{"nodiratime", set(unix.MOUNT_ATTR_NODIRATIME)},
	{"noexec", set(unix.MOUNT_ATTR_NOEXEC)},
	{"noiversion", mount.Options{}},
	{"nolazytime", mount.Options{}},
	{"nomand", mount.Options{}},
	{"norelatime", atime(unix.MOUNT_ATTR_STRICTATIME)},
	{"nostrictatime", atime(unix.MOUNT_ATTR_RELATIME)},
	{"nosuid", set(unix.MOUNT_ATTR_NOSUID)},
	{"nosymfollow", set(unix.MOUNT_ATTR_NOSYMFOLLOW)},
	{"private", mount.Options{Propagation: unix.MS_PRIVATE}},
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
	{"rprivate", mount.Options{Propagation: unix.MS_PRIVATE, PropagationRecursive: true}},
	{"rrelatime", recursive(atime(unix.MOUNT_ATTR_RELATIME))},
	{"rro", recursive(set(unix.MOUNT_ATTR_RDONLY))},
	{"rrw", recursive(unset(unix.MOUNT_ATTR_RDONLY))},
	{"rshared", mount.Options{Propagation: unix.MS_SHARED, PropagationRecursive: true}},
	{"rslave", mount.Options{Propagation: unix.MS_SLAVE, PropagationRecursive: true}},
	{"rstrictatime", recursive(atime(unix.MOUNT_ATTR_STRICTATIME))},
	{"rsuid", recursive(unset(unix.MOUNT_ATTR_NOSUID))},
	{"rsymfollow", recursive(unset(unix.MOUNT_ATTR_NOSYMFOLLOW))},
	{"runbindable", mount.Options{Propagation: unix.MS_UNBINDABLE, PropagationRecursive: true}},
	{"rw", unset(unix.MOUNT_ATTR_RDONLY)},
	{"shared", mount.Options{Propagation: unix.MS_SHARED}},
	{"silent", mount.Options{}},
	{"slave", mount.Options{Propagation: unix.MS_SLAVE}},
	{"strictatime", atime(unix.MOUNT_ATTR_STRICTATIME)},
	{"suid", unset(unix.MOUNT_ATTR_NOSUID)},
	{"symfollow", unset(unix.MOUNT_ATTR_NOSYMFOLLOW)},
	{"sync", data("sync")},
	{"unbindable", mount.Options{Propagation: unix.MS_UNBINDABLE}},

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

func TestWordsThatAreNotDoneAreRefused(t *testing.T) {
	for _, word := range []string{"idmap", "ridmap", "tmpcopyup"} {
		_, err := mount.ParseOptions([]string{"ro", word})
		if err == nil || !strings.Contains(err.Error(), `"`+word+`" is not supported`) {
			t.Errorf("%s: error %v", word, err)
		}
	}
}

func TestALaterWordBeatsAnEarlierOne(t *testing.T) {
	got, err := mount.ParseOptions([]string{"ro", "noatime", "rprivate", "rw", "strictatime", "shared"})
	want := mount.Options{
		Attributes:  mount.Attributes{Set: unix.MOUNT_ATTR_STRICTATIME, Clear: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR__ATIME},
		Propagation: unix.MS_SHARED,
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
