package overlay_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/overlay"
)

// Two containers run from one image. Each one sees the image and its own
// changes, and nothing of the other's.
func TestContainersShareTheImageAndNotTheirWrites(t *testing.T) {
	testkit.HostUnchanged(t)
	image := t.TempDir()
	write(t, image+"/motd", "welcome")
	write(t, image+"/gone", "soon")

	mounttest.Private(t, func() {
		a, b := mountContainer(t, image), mountContainer(t, image)
		write(t, a.root+"/motd", "a was here")
		if err := os.Remove(a.root + "/gone"); err != nil {
			t.Fatal(err)
		}
		write(t, b.root+"/new", "b's")

		is(t, a.root, "motd=a was here")
		is(t, b.root, "gone=soon", "motd=welcome", "new=b's")
		is(t, image, "gone=soon", "motd=welcome")

		// What changed, and no more, is in the upper directories.
		is(t, a.stack.Upper, "gone is a whiteout", "motd=a was here")
		is(t, b.stack.Upper, "new=b's")
	})
}

// Of layers that have the same file, the topmost one's is seen.
func TestTheTopmostLayerWins(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	for _, layer := range []string{"1", "2", "3"} {
		write(t, dir+"/"+layer+"/who", layer)
		write(t, dir+"/"+layer+"/only-in-"+layer, layer)
	}
	stack, err := overlay.Prepare(t.TempDir(), []string{dir + "/3", dir + "/2", dir + "/1"})
	if err != nil {
		t.Fatal(err)
	}
	stack.Upper, stack.Work = "", ""
	bothWays(t, stack, func(root string) {
		is(t, root, "only-in-1=1", "only-in-2=2", "only-in-3=3", "who=3")
		if err := os.WriteFile(root+"/x", nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("write to a stack without upper directory: %v, want EROFS", err)
		}
	})
}

// The root directory of the mount has the mode and owner that the image gives
// it, not those of a folder of the host.
func TestTheRootDirectoryIsTheImages(t *testing.T) {
	testkit.HostUnchanged(t)
	image := t.TempDir()
	if err := errors.Join(os.Chown(image, 7, 8), os.Chmod(image, 0o751|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() {
		c := mountContainer(t, image)
		var st unix.Stat_t
		if err := unix.Stat(c.root, &st); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%o %d:%d", st.Mode&0o7777, st.Uid, st.Gid); got != "1751 7:8" {
			t.Errorf("root directory is %s, want 1751 7:8", got)
		}
	})
}

// What a container writes is nobody else's business, on the host as well
// (CVE-2021-41103).
func TestOthersCannotEnterTheWritableLayer(t *testing.T) {
	testkit.Root(t)
	dir := t.TempDir() + "/container"
	if _, err := overlay.Prepare(dir, []string{t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode is %v, want 0700", info.Mode().Perm())
	}
}

// Overlayfs has its own meaning for ':' ',' and '\'; paths may hold them. And a
// parameter of fsconfig(2) has 255 bytes at most; a path may be longer.
func TestPathsMayHoldTheCharactersOfTheOptions(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, odd := range []string{`a:b`, `a,b`, `a\b`, `a\:b`, `a,upperdir=b`, `\`, `:`, `a b`, `ü`, strings.Repeat("long", 60)} {
		t.Run(odd[:min(len(odd), 20)], func(t *testing.T) {
			dir := t.TempDir() + "/" + odd
			write(t, dir+"/"+odd+"/"+odd+"/file", "below")
			write(t, dir+"/other"+odd+"/file2", "above")
			lower := []string{dir + "/other" + odd, dir + "/" + odd + "/" + odd}
			stack, err := overlay.Prepare(dir+"/writable"+odd, lower)
			if err != nil {
				t.Fatal(err)
			}
			bothWays(t, stack, func(root string) {
				is(t, root, "file=below", "file2=above")
				write(t, root+"/file3", "new")
				is(t, stack.Upper, "file3=new")
				if err := os.Remove(root + "/file3"); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// mountedStack is a container's stack.
type mountedStack struct {
	stack overlay.Stack
	root  string
}

// mountContainer gives a container a writable layer on image, and mounts it.
func mountContainer(t *testing.T, image string) mountedStack {
	t.Helper()
	stack, err := overlay.Prepare(t.TempDir(), []string{image})
	if err != nil {
		t.Fatal(err)
	}
	return mountedStack{stack, mounttest.Mount(t, t.TempDir(), stack.Steps)}
}

// write writes a file, and the folders that it needs.
func write(t *testing.T, path, content string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}

// is compares what is in a directory with a list.
func is(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Type()&os.ModeCharDevice != 0 {
			got = append(got, e.Name()+" is a whiteout")
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name()+"="+string(content))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

// bothWays mounts the stack as new kernels do it and then as old ones do, each in
// mounts of its own. The new way needs a new kernel.
func bothWays(t *testing.T, stack overlay.Stack, look func(root string)) {
	t.Helper()
	old := stack.OnePage
	for _, stack.OnePage = range []bool{old, true} {
		mounttest.Private(t, func() { look(mounttest.Mount(t, t.TempDir(), stack.Steps)) })
	}
}
