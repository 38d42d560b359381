package rootfs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// tree makes a directory with one of each kind of thing, by shell commands, so
// that the test reads like a manual. With root, it has owners and devices too.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sh(t, dir, `
		umask 022
		mkdir -p usr/bin usr/lib empty locked/inner sticky
		printf 'hello\n' > usr/bin/hello; chmod 4711 usr/bin/hello
		ln usr/bin/hello usr/bin/same-file
		ln -s usr/bin bin; ln -s /nowhere dangling; ln dangling dangling-too
		mkfifo -m 622 fifo
		truncate -s 8M hole; printf 'end' >> hole; truncate -s 16M hole
		touch 'a name with
a line feed' usr/lib/.hidden
		chmod 1777 sticky; chmod 0555 locked
		touch -h -d '2001-02-03 04:05:06.123456789' dangling usr/bin/hello locked usr/lib fifo`)
	must(t, unix.Setxattr(filepath.Join(dir, "hole"), "user.note", []byte("mine"), 0))
	if os.Geteuid() == 0 {
		sh(t, dir, `
			mknod null c 1 3; mknod loop b 7 200; chown -h 7:8 dangling; chown 1000:1001 usr/lib
			printf x > capable; chmod 755 capable`)
		const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // cap_net_raw+ep
		must(t, unix.Setxattr(filepath.Join(dir, "capable"), "security.capability", []byte(capability), 0))
		must(t, unix.Setxattr(filepath.Join(dir, "usr"), "trusted.note", []byte("root's"), 0))
	}
	sh(t, dir, "touch -d '2001-02-03 04:05:06.123456789' .")
	return dir
}

func sh(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-euc", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// GNU tar, an independent program, makes the same archive of both.
func TestACopyIsTheSameTree(t *testing.T) {
	testkit.HostUnchanged(t)
	source, target := tree(t), t.TempDir()
	must(t, rootfs.FromDirectory(target, source))
	if want, got := digest(t, source), digest(t, target); want != got {
		t.Errorf("they differ:\n%s", difference(t, want, got))
	}
	for _, dir := range []string{source, target} {
		sh(t, dir, `tar --create --sort=name --xattrs --xattrs-include='*' --format=pax \
			--pax-option=delete=atime,delete=ctime,exthdr.name=x --file="$PWD.tar" .`)
	}
	if out, err := exec.Command("cmp", source+".tar", target+".tar").CombinedOutput(); err != nil {
		t.Errorf("GNU tar sees a difference: %s", out)
	}
}

func TestHolesStayHoles(t *testing.T) {
	source, target := tree(t), t.TempDir()
	must(t, rootfs.FromDirectory(target, source))
	var stat unix.Stat_t
	must(t, unix.Stat(filepath.Join(target, "hole"), &stat))
	if used := stat.Blocks * 512; stat.Size != 16<<20 || used > 1<<20 {
		t.Errorf("of %d bytes, %d are on disk", stat.Size, used)
	}
}

func TestWhatIsMountedIsNotCopied(t *testing.T) {
	testkit.HostUnchanged(t)
	source, target := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(source, "config"), "below", 0o600)
	writeFile(t, filepath.Join(source, "above"), "above", 0o600)
	must(t, os.Mkdir(filepath.Join(source, "proc"), 0o700))
	proc, config := filepath.Join(source, "proc"), filepath.Join(source, "config")
	must(t, unix.Mount("proc", proc, "proc", 0, ""))
	defer unix.Unmount(proc, 0)
	must(t, unix.Mount(filepath.Join(source, "above"), config, "", unix.MS_BIND, ""))
	defer unix.Unmount(config, 0)
	must(t, rootfs.FromDirectory(target, source))
	in, err := os.ReadDir(filepath.Join(target, "proc"))
	must(t, err)
	text, err := os.ReadFile(filepath.Join(target, "config"))
	must(t, err)
	if len(in) != 0 || len(text) != 0 {
		t.Errorf("proc has %d files, config the text %q", len(in), text)
	}
}

func TestATreeDeeperThanDescriptorsIsCopied(t *testing.T) {
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: old.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	source, target := t.TempDir(), t.TempDir()
	deep := strings.Repeat("d/", 1000)
	writeFile(t, filepath.Join(source, deep, "file"), "down here", 0o600)
	must(t, rootfs.FromDirectory(target, source))
	if text, err := os.ReadFile(filepath.Join(target, deep, "file")); string(text) != "down here" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestACopyNeverReplaces(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(source, "file"), "new", 0o600)
	writeFile(t, filepath.Join(target, "file"), "old", 0o600)
	wantError(t, rootfs.FromDirectory(target, source), unix.EEXIST, `copy "`, `file "file": create "file"`)
	if text, err := os.ReadFile(filepath.Join(target, "file")); string(text) != "old" {
		t.Errorf("it is now %q, %v", text, err)
	}
}

func TestACopyIntoItselfIsRefused(t *testing.T) {
	source := t.TempDir()
	inside := filepath.Join(source, "a/b")
	must(t, os.MkdirAll(inside, 0o755))
	err := rootfs.FromDirectory(inside, source)
	wantError(t, err, unix.EINVAL, `file "a/b": the copy would be in what is copied`)
	if hint.Of(err) == "" {
		t.Error("no hint")
	}
	wantError(t, rootfs.FromDirectory(source, source), unix.EINVAL, "they are the same directory")
}

// While the tree is copied, somebody swaps a directory of it for a link to a
// place outside, and a file for a link to a secret: CVE-2018-15664 is this race
// in `docker cp`.
func TestASwapWhileCopyingLeaksNothing(t *testing.T) {
	outside, source := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(outside, "secret"), "secret", 0o600)
	writeFile(t, filepath.Join(source, "a/secret"), "public", 0o600)
	must(t, os.Symlink(outside, filepath.Join(source, "b")))
	writeFile(t, filepath.Join(source, "c"), "public", 0o600)
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(source, "d")))
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- swap(source, stop) }()
	for range 300 {
		target := t.TempDir()
		err := rootfs.FromDirectory(target, source) // a directory that was swapped meanwhile is an error
		if err != nil {
			wantOneOf(t, err, unix.ELOOP, unix.ENOTDIR, unix.ENOENT, unix.EEXIST)
		}
		out, err := exec.Command("grep", "--recursive", "--quiet", "^secret$", target).CombinedOutput()
		if err == nil || len(out) > 0 {
			t.Fatalf("the secret was copied: %s", out)
		}
	}
	close(stop)
	must(t, <-stopped)
}

// swap exchanges a with b and c with d until stop is closed.
func swap(dir string, stop chan struct{}) error {
	for {
		for _, pair := range [][2]string{{"a", "b"}, {"c", "d"}} {
			select {
			case <-stop:
				return nil
			default:
			}
			x, y := filepath.Join(dir, pair[0]), filepath.Join(dir, pair[1])
			if err := unix.Renameat2(unix.AT_FDCWD, x, unix.AT_FDCWD, y, unix.RENAME_EXCHANGE); err != nil {
				return err
			}
		}
	}
}
