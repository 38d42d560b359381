package overlay_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/overlay"
)

// A copy is what the mount would show: find(1) sees no difference
// in names, kinds, modes, owners, times, links and contents.
func TestACopyIsWhatTheMountShows(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "find", "grep", "mknod")
	dir := t.TempDir()
	shell(t, dir, `
		umask 022; mkdir 1 2 3
		mkdir -p 1/gone 1/opaque 1/merged 1/file-was-dir 1/dir-was-link 1/linked; chmod 1777 1/merged
		echo a > 1/gone/a; echo b > 1/opaque/b; echo c > 1/merged/c; echo d > 1/file-was-dir/d
		echo e > 1/hard; ln 1/hard 1/link; ln -s /etc/passwd 1/symlink; ln -s linked 1/link-was-dir; mkfifo 1/pipe; mknod 1/null c 1 3
		chown 7:8 1/hard; chmod 4755 1/hard; touch -d '2001-02-03 04:05:06.789' 1/merged/c 1/merged
		mknod 2/gone c 0 0; mkdir 2/opaque; echo new > 2/opaque/new; echo now a file > 2/file-was-dir
		mkdir 2/merged; echo f > 2/merged/f; mkdir 2/link-was-dir; echo g > 2/link-was-dir/g
		mkdir 3/merged; mknod 3/merged/c c 0 0; mkdir 3/gone; echo back > 3/gone/back; ln -s gone 3/dir-is-link`)
	if err := unix.Setxattr(dir+"/2/opaque", "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	stack := overlay.Stack{Lower: []string{dir + "/3", dir + "/2", dir + "/1"}, OnePage: true}
	if _, err := stack.Copy(dir + "/copy"); err != nil {
		t.Fatal(err)
	}
	var mounted string
	mounttest.Private(t, func() { mounted = seen(t, mounttest.Mount(t, t.TempDir(), stack.Steps)) })
	if copied := seen(t, dir+"/copy"); copied != mounted {
		t.Errorf("the mount shows\n%s\nthe copy is\n%s", mounted, copied)
	}
}

// shell runs lines in a directory.
func shell(t *testing.T, dir, lines string) string {
	t.Helper()
	cmd := exec.Command("sh", "-euc", lines)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// seen lists all that is in a directory. What depends on the file system is left
// out: the size of directories, and how many names they have.
func seen(t *testing.T, root string) string {
	t.Helper()
	return shell(t, root, `
		find . -type d -printf '%p %y %m %U:%G %T+\n' -o -printf '%p %y %m %U:%G %T+ %n %s %l\n' | sort
		find . -type f -exec grep -H '' {} + | sort`)
}

// What is wrong with overlayfs is a reason to copy. What is wrong with a
// directory is not: the copy would lack it as well.
func TestWhenToCopy(t *testing.T) {
	testkit.HostUnchanged(t)
	image := t.TempDir()
	stack, err := overlay.Prepare(t.TempDir(), []string{image})
	if err != nil {
		t.Fatal(err)
	}
	missing := stack
	missing.Lower = []string{image + "/missing"}
	if err := failure(t, missing); overlay.Refused(err) || !errors.Is(err, unix.ENOENT) {
		t.Errorf("a layer that is not there: %v", err)
	}
	// A container in a container: overlayfs does not write to itself.
	var inner error
	mounttest.Private(t, func() {
		above := overlay.Stack{Lower: []string{image}}
		root := mounttest.Mount(t, t.TempDir(), stack.Steps)
		above.Upper, above.Work, above.OnePage = root+"/upper", root+"/work", stack.OnePage
		if err := errors.Join(os.Mkdir(above.Upper, 0o755), os.Mkdir(above.Work, 0o755)); err != nil {
			t.Fatal(err)
		}
		var p plan.Plan
		if err := above.Steps(&p, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		inner = plan.Run(&p)
	})
	closeContexts(t)
	if !overlay.Refused(inner) {
		t.Errorf("an overlay as upper directory: %v", inner)
	}
	// The kernel says in words what is wrong; errno alone is EINVAL for everything.
	if words := "not supported as upperdir"; !strings.Contains(inner.Error(), words) && !stack.OnePage {
		t.Errorf("got %v, want %q in it", inner, words)
	}
	if overlay.Refused(errors.New("something else")) {
		t.Error("any error is taken for a refusal")
	}
}
