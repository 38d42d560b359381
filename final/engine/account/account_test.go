package account_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/engine/account"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
)

const (
	passwd = "root:x:0:0:root:/root:/bin/sh\n" +
		"web:x:33:44:web:/srv/www:/bin/sh\n" +
		"lost:x:50:50:no home::/bin/sh\n" +
		"4294967296:x:0:0:CVE-2026-46680:/root:/bin/sh\n"
	group = "root:x:0:\nweb:x:44:\nlogs:x:60:web,root\nmail:x:61:web\n"
)

// layer is a folder with these files in it: a container's root, or one of
// the folders that it is stacked from.
func layer(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// accounts is a layer with the users and groups above.
func accounts(t *testing.T) (root string) {
	t.Helper()
	return layer(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
}

func TestAUserIsFoundInTheContainersOwnFiles(t *testing.T) {
	root := accounts(t)
	for _, c := range []struct {
		text string
		want specs.User
	}{
		{"", specs.User{AdditionalGids: []uint32{0, 60}}},
		{"0", specs.User{AdditionalGids: []uint32{0, 60}}},
		{"web", specs.User{UID: 33, GID: 44, AdditionalGids: []uint32{44, 60, 61}}},
		{"33", specs.User{UID: 33, GID: 44, AdditionalGids: []uint32{44, 60, 61}}},
		{"web:logs", specs.User{UID: 33, GID: 60, AdditionalGids: []uint32{60}}},
		{"web:7", specs.User{UID: 33, GID: 7, AdditionalGids: []uint32{7}}},
		{"1234", specs.User{UID: 1234, AdditionalGids: []uint32{0}}},
		{"1234:5678", specs.User{UID: 1234, GID: 5678, AdditionalGids: []uint32{5678}}},
		{"2147483647:2147483647", specs.User{UID: 1<<31 - 1, GID: 1<<31 - 1, AdditionalGids: []uint32{1<<31 - 1}}},
	} {
		t.Run(c.text, func(t *testing.T) {
			// The primary group is among the others: CVE-2022-36109.
			got, err := account.Resolve(c.text, []string{root})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// CVE-2026-46680: a number that is no id must not be looked up as a name,
// which the image chooses: here, one of root.
func TestANumberOutOfRangeIsNoName(t *testing.T) {
	root := accounts(t)
	for _, text := range []string{"4294967296", "4294967296:0", "0:4294967296", "2147483648", "4294967295", "00004294967296", "99999999999999999999999"} {
		_, err := account.Resolve(text, []string{root})
		refused(t, err, "user \""+text+"\"", "is not between 0 and 2147483647")
	}
	_, err := account.Resolve("-1", []string{root})
	refused(t, err, `user "-1"`)
}

func TestANameThatIsNotThereIsAnError(t *testing.T) {
	root := accounts(t)
	for _, c := range []struct {
		text  string
		roots []string
	}{
		{"nobody", []string{root}},
		{"web:nobody", []string{root}},
		{"web", []string{t.TempDir()}},
	} {
		_, err := account.Resolve(c.text, c.roots)
		refused(t, err, "user \""+c.text+"\"", "unable to find")
		if !strings.Contains(hint.Of(err), "number") {
			t.Errorf("%s: the hint is %q", c.text, hint.Of(err))
		}
	}
	// A number needs no file.
	if u, err := account.Resolve("7:8", []string{t.TempDir()}); err != nil || u.UID != 7 || u.GID != 8 {
		t.Errorf("got %+v, %v", u, err)
	}
}

// What an image has as /etc/passwd is read by a process of the host.
func TestAPasswdMadeToHarmTheReader(t *testing.T) {
	outside := accounts(t)
	for _, c := range []struct {
		name, want string
		make       func(file string) error
	}{
		{"a fifo, which would hang", "not a plain file", func(f string) error { return unix.Mkfifo(f, 0o666) }},
		{"a folder", "not a plain file", func(f string) error { return os.Mkdir(f, 0o755) }},
		{"huge (CVE-2026-47262)", "larger than 1048576 bytes", func(f string) error {
			return os.WriteFile(f, make([]byte, 1<<20+1), 0o644)
		}},
		{"a link that goes round", "too many levels of symbolic links", func(f string) error { return os.Symlink("passwd", f) }},
		{"a link out of the root", "unable to find user web", func(f string) error { return os.Symlink(filepath.Join(outside, "etc/passwd"), f) }},
		{"a link up and out", "unable to find user web", func(f string) error {
			return os.Symlink("../../../../../../../.."+filepath.Join(outside, "etc/passwd"), f)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := layer(t, map[string]string{"etc/group": group})
			if err := c.make(filepath.Join(root, "etc/passwd")); err != nil {
				t.Fatal(err)
			}
			_, err := account.Resolve("web", []string{root})
			refused(t, err, c.want)
		})
	}
}

// A link that stays inside means what it means in the container.
func TestALinkInsideTheRootIsFollowed(t *testing.T) {
	root := layer(t, map[string]string{"etc/group": group, "usr/lib/users": passwd})
	if err := os.Symlink("/usr/lib/users", filepath.Join(root, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if u, err := account.Resolve("web", []string{root}); err != nil || u.UID != 33 {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestTheTopmostLayerWins(t *testing.T) {
	lower := accounts(t)
	upper := layer(t, map[string]string{"etc/passwd": "web:x:99:99::/:/bin/sh\n"})
	u, err := account.Resolve("web", []string{t.TempDir(), upper, lower})
	if err != nil || u.UID != 99 {
		t.Errorf("got %+v, %v", u, err)
	}
	// Each file comes from the topmost layer that has it: the groups of web are below.
	if want := []uint32{99, 60, 61}; !reflect.DeepEqual(u.AdditionalGids, want) {
		t.Errorf("groups %v, want %v", u.AdditionalGids, want)
	}
}

// A whiteout is a character device 0, 0: overlayfs, "whiteouts and opaque
// directories".
func TestAWhiteoutHidesTheFilesBelow(t *testing.T) {
	testkit.Root(t)
	lower := accounts(t)
	upper := layer(t, map[string]string{"etc/motd": ""})
	if err := unix.Mknod(filepath.Join(upper, "etc/passwd"), unix.S_IFCHR|0o600, 0); err != nil {
		t.Fatal(err)
	}
	_, err := account.Resolve("web", []string{upper, lower})
	refused(t, err, "unable to find user web")
	if u, err := account.Resolve("web", []string{lower}); err != nil || u.UID != 33 {
		t.Errorf("without the whiteout: %+v, %v", u, err)
	}
}

// refused fails the test unless err says all of this.
func refused(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got  %v\nwant … %s …", err, w)
		}
	}
}
