package mount_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/mount"
)

// Each word of the specification's table, as the kernel then shows the mount.

// unlike has each attribute turned on that a word can turn off.
var unlike = []string{"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"}

// shown is what the kernel lists for a new tmpfs with one word, and for one
// that had the attributes unlike before the word. It lists "relatime" and
// "rw" as well, but not the defaults "suid" and so on.
var shown = []struct{ word, alone, after string }{
	{"async", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"atime", "rw,relatime", "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow"},
	{"defaults", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"dev", "rw,relatime", "ro,nosuid,noexec,noatime,nodiratime,nosymfollow"},
	{"diratime", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nosymfollow"},
	{"dirsync", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"exec", "rw,relatime", "ro,nosuid,nodev,noatime,nodiratime,nosymfollow"},
	{"iversion", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"lazytime", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"loud", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"mand", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"noatime", "rw,noatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"nodev", "rw,nodev,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"nodiratime", "rw,nodiratime,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"noexec", "rw,noexec,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"noiversion", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"nolazytime", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"nomand", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"norelatime", "rw", "ro,nosuid,nodev,noexec,nodiratime,nosymfollow"},
	{"nostrictatime", "rw,relatime", "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow"},
	{"nosuid", "rw,nosuid,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"nosymfollow", "rw,relatime,nosymfollow", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"private", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"relatime", "rw,relatime", "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow"},
	{"ro", "ro,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"rprivate", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"rshared", "rw,relatime shared", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow shared"},
	{"rslave", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"runbindable", "rw,relatime unbindable", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow unbindable"},
	{"rw", "rw,relatime", "rw,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"shared", "rw,relatime shared", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow shared"},
	{"silent", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"slave", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"strictatime", "rw", "ro,nosuid,nodev,noexec,nodiratime,nosymfollow"},
	{"suid", "rw,relatime", "ro,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"symfollow", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime"},
	{"sync", "rw,relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"},
	{"unbindable", "rw,relatime unbindable", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow unbindable"},
}

// withoutNumber is an entry of mountinfo without the number of a peer group.
func withoutNumber(entry string) string {
	entry, _, _ = strings.Cut(entry, ":")
	return entry
}

func TestTheKernelShowsWhatEachWordAsksFor(t *testing.T) {
	testkit.HostUnchanged(t)
	var all []specs.Mount
	for _, w := range shown {
		all = append(all, tmpfs("/alone/"+w.word, w.word), tmpfs("/after/"+w.word, append(unlike[:7:7], w.word)...))
	}
	seen := mountinfo(t, container(t, t.TempDir(), mounts(all...)).Pid)
	for _, w := range shown {
		if got := withoutNumber(seen["/alone/"+w.word]); got != w.alone {
			t.Errorf("%s alone: %q, want %q", w.word, got, w.alone)
		}
		if got := withoutNumber(seen["/after/"+w.word]); got != w.after {
			t.Errorf("%s after all others: %q, want %q", w.word, got, w.after)
		}
	}
}

// The words for attributes with an r in front, for a bind mount that has
// another one below it.
func TestTheKernelShowsRecursiveWordsOnAllMountsBelow(t *testing.T) {
	testkit.HostUnchanged(t)
	source := t.TempDir()
	mkdir(t, source+"/below")
	privately(t, func() {
		for _, on := range []string{source, source + "/below"} {
			mountTmpfs(t, on, "")
			mkdir(t, source+"/below")
		}
		var all []specs.Mount
		for _, w := range recursiveWords() {
			before := "/" + w + "/before"
			all = append(all, bind(source, "/"+w+"/plain", "rbind", "r"+w), bind(source, before, "rbind"),
				specs.Mount{Destination: before, Options: []string{"remount", "bind", "rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"}},
				specs.Mount{Destination: before, Options: []string{"remount", "bind", "r" + w}})
		}
		seen := mountinfo(t, container(t, t.TempDir(), mounts(all...)).Pid)
		for _, w := range shown {
			if !slices.Contains(recursiveWords(), w.word) {
				continue
			}
			for point, want := range map[string]string{"plain": w.alone, "before": w.after} {
				top := "/" + w.word + "/" + point
				if seen[top] != want || seen[top+"/below"] != want {
					t.Errorf("r%s, %s: %q, and below %q, want %q", w.word, point, seen[top], seen[top+"/below"], want)
				}
			}
		}
	})
}

// recursiveWords are the words of which there is one with an r in front.
func recursiveWords() (all []string) {
	for _, w := range shown {
		if o, err := mount.ParseOptions([]string{"r" + w.word}); err == nil && o.RecursiveAttributes != (mount.Attributes{}) {
			all = append(all, w.word)
		}
	}
	return all
}

func TestWhichWordsAreRecursive(t *testing.T) {
	const want = "atime dev diratime exec noatime nodev nodiratime noexec norelatime nostrictatime nosuid nosymfollow relatime ro rw strictatime suid symfollow"
	if got := strings.Join(recursiveWords(), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Words that belong to the file system are shown with it.
func TestTheKernelShowsWordsOfTheFileSystem(t *testing.T) {
	testkit.HostUnchanged(t)
	words := map[string]string{
		"sync": "rw,sync", "dirsync": "rw,dirsync", "lazytime": "rw,lazytime", "mand": "rw,mand",
		"sync,async": "rw", "lazytime,nolazytime": "rw", "mand,nomand": "rw",
		"sync,dirsync,lazytime,iversion": "rw,sync,dirsync,lazytime", "size=64k,nr_inodes=10": "rw,size=64k,nr_inodes=10",
	}
	var all []specs.Mount
	for w := range words {
		all = append(all, tmpfs("/"+w, append(strings.Split(w, ","), "mode=1777")...))
	}
	seen := ofFileSystem(t, container(t, t.TempDir(), mounts(all...)).Pid)
	for w, want := range words {
		got := strings.TrimSuffix(strings.TrimSuffix(seen["/"+w], ",inode64"), ",noswap")
		if got != want {
			t.Errorf("%s: %q, want %q", w, got, want)
		}
	}
}

func TestARemountChangesTheFileSystemOrWithBindTheMountAlone(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t, t.TempDir(), mounts(
		tmpfs("/a", "size=64k", "mode=1777", "nosuid"),
		specs.Mount{Destination: "/a", Options: []string{"remount", "size=128k", "sync", "ro"}},
		tmpfs("/b", "ro"), specs.Mount{Destination: "/b", Options: []string{"remount", "bind", "rw", "noexec"}},
	))
	if got := ofFileSystem(t, c.Pid)["/a"]; !strings.HasPrefix(got, "rw,sync,size=128k") {
		t.Errorf("the file system on /a is %q", got)
	}
	seen := mountinfo(t, c.Pid)
	if seen["/a"] != "ro,nosuid,relatime" || seen["/b"] != "rw,noexec,relatime" {
		t.Errorf("/a is %q, /b is %q", seen["/a"], seen["/b"])
	}
}

func TestSeveralPropagationWordsAreDoneInTheirOrder(t *testing.T) {
	testkit.HostUnchanged(t)
	source := t.TempDir()
	privately(t, func() {
		mountTmpfs(t, source, "shared")
		c := container(t, t.TempDir(), mounts(
			bind(source, "/slave", "slave"), bind(source, "/both", "slave", "shared"), bind(source, "/last", "shared", "private"),
			tmpfs("/new", "shared"), bind(source, "/tree", "rbind", "runbindable"),
		))
		seen := mountinfo(t, c.Pid)
		for point, want := range map[string]string{
			"/slave": " master:", "/both": " shared: master:", "/last": "", "/new": " shared:", "/tree": " unbindable",
		} {
			if got := digits.Replace(strings.TrimPrefix(seen[point], "rw,relatime")); got != want {
				t.Errorf("%s: %q, want %q", point, got, want)
			}
		}
	})
}

// digits removes them.
var digits = strings.NewReplacer("0", "", "1", "", "2", "", "3", "", "4", "", "5", "", "6", "", "7", "", "8", "", "9", "")

func TestABindMountIsNoPlaceForWordsOfAFileSystem(t *testing.T) {
	source := t.TempDir()
	for _, word := range []string{"sync", "lazytime", "iversion", "rubbish"} {
		err := mount.NewRoot(&plan.Plan{}, "/").Mount(bind(source, "/mnt", word))
		wantError(t, err, `on "/mnt": option "`+word+`": invalid argument`, "a bind mount makes no new one")
	}
	for _, word := range []string{"async", "nolazytime", "nomand", "noiversion", "silent", "loud", "defaults"} {
		if err := mount.NewRoot(&plan.Plan{}, "/").Mount(bind(source, "/mnt", word)); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// mount(2): the data of a bind mount is ignored. The options of one list may be
// meant for mounts of several kinds.
func TestASettingOfAFileSystemDoesNothingToABindMount(t *testing.T) {
	testkit.HostUnchanged(t)
	source := t.TempDir()
	privately(t, func() {
		mountTmpfs(t, source, "private")
		seen := mountinfo(t, container(t, t.TempDir(), mounts(bind(source, "/mnt", "mode=755", "nosuid", "size=1k"))).Pid)
		if seen["/mnt"] != "rw,nosuid,relatime" {
			t.Errorf("mounts: %v", seen)
		}
	})
	root := mount.NewRoot(&plan.Plan{}, "/")
	if err := root.Mount(bind(source, "/mnt", "mode=755")); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`bind mount %q on "/mnt": option "mode=755" does nothing: a bind mount makes no new file system`, source)
	if got := root.Warnings(); len(got) != 1 || got[0] != want {
		t.Errorf("warnings %q, want %q", got, want)
	}
}

// No file shows that changes are counted, so this looks at the plan.
func TestIversionIsARemount(t *testing.T) {
	p := &plan.Plan{}
	if err := mount.NewRoot(p, "/").Mount(tmpfs("/x", "iversion", "sync", "nosuid")); err != nil {
		t.Fatal(err)
	}
	wantText(t, p.String(), `mount(NULL, ".", NULL, MS_SYNCHRONOUS|MS_REMOUNT|MS_I_VERSION, NULL)`)
}
