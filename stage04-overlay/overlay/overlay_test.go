package overlay_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
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
	stack := overlay.Stack{Lower: []string{dir + "/3", dir + "/2", dir + "/1"}}

	mounttest.Private(t, func() {
		root := mounttest.Mount(t, t.TempDir(), stack.Steps)
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

// Overlayfs has its own meaning for ':' ',' and '\'; paths may hold them.
func TestPathsMayHoldTheCharactersOfTheOptions(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, odd := range []string{`a:b`, `a,b`, `a\b`, `a\:b`, `a,upperdir=b`, `\`, `:`, `a b`, `ü`} {
		t.Run(odd, func(t *testing.T) {
			dir := t.TempDir() + "/" + odd
			write(t, dir+"/"+odd+"/file", "below")
			write(t, dir+"/other"+odd+"/file2", "above")
			lower := []string{dir + "/other" + odd, dir + "/" + odd}
			stack, err := overlay.Prepare(dir+"/writable"+odd, lower)
			if err != nil {
				t.Fatal(err)
			}
			mounttest.Private(t, func() {
				root := mounttest.Mount(t, t.TempDir(), stack.Steps)
				is(t, root, "file=below", "file2=above")
				write(t, root+"/file3", "new")
				is(t, stack.Upper, "file3=new")
			})
		})
	}
}

// The steps are what `--explain` prints: the long common part of the names is
// walked to, once.
func TestSteps(t *testing.T) {
	s := overlay.Stack{
		Lower: []string{"/var/lib/skiff/layers/3", "/var/lib/skiff/layers/2", "/var/lib/skiff/layers/1"},
		Upper: "/var/lib/skiff/containers/web/upper", Work: "/var/lib/skiff/containers/web/work",
	}
	if got, want := printed(t, s), `chdir("/var/lib/skiff/layers")
mount("overlay", "/rootfs", "overlay", 0, "lowerdir=3:2:1,`+
		`upperdir=/var/lib/skiff/containers/web/upper,workdir=/var/lib/skiff/containers/web/work,`+
		`redirect_dir=nofollow,metacopy=off,index=off")`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s = overlay.Stack{Lower: []string{"/srv/image", "/srv/images/a", "/opt/b"}}
	if got, want := printed(t, s), `chdir("/")
mount("overlay", "/rootfs", "overlay", 0, "lowerdir=srv/image:srv/images/a:opt/b,`+
		`redirect_dir=nofollow,metacopy=off,index=off")`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// As many layers as overlayfs takes can be mounted, if the store names them
// with numbers. (A layer with 500 below it is docker's limit four times over.)
func TestFiveHundredLayers(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	var lower []string
	for i := range 500 {
		layer := fmt.Sprintf("%s/%d", dir, i)
		write(t, fmt.Sprintf("%s/file%03d", layer, i), "x")
		lower = append(lower, layer)
	}
	stack, err := overlay.Prepare(t.TempDir(), lower)
	if err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() {
		root := mounttest.Mount(t, t.TempDir(), stack.Steps)
		if names, err := os.ReadDir(root); len(names) != 500 || err != nil {
			t.Errorf("%d files, error %v; want 500", len(names), err)
		}
	})
}

func TestStacksThatCannotBe(t *testing.T) {
	digest := strings.Repeat("0123456789abcdef", 4)
	tests := map[string]struct {
		stack overlay.Stack
		want  string
	}{
		"too long": {
			overlay.Stack{Lower: many(100, "/layers/"+digest)},
			`mount overlay on "/rootfs": the names of 100 lower directories, relative to "/layers", make 6853 bytes of options, and mount(2) takes 4095: argument list too long`,
		},
		"too many": {
			overlay.Stack{Lower: many(501, "/layers/")},
			`mount overlay on "/rootfs": 501 lower directories, and overlayfs takes 500: argument list too long`,
		},
		"none": {
			overlay.Stack{Upper: "/upper", Work: "/work"},
			`mount overlay on "/rootfs": no lower directory: invalid argument`,
		},
		"one": {
			overlay.Stack{Lower: []string{"/image"}},
			`mount overlay on "/rootfs": one lower directory and no upper one: there is nothing to stack: invalid argument`,
		},
		"upper without work": {
			overlay.Stack{Lower: []string{"/image"}, Upper: "/upper"},
			`mount overlay on "/rootfs": upper "/upper" without work "": both or none: invalid argument`,
		},
		"relative": {
			overlay.Stack{Lower: []string{"a", "b"}},
			`mount overlay on "/rootfs": directory "a": not an absolute, clean path below /: invalid argument`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := test.stack.Steps("/rootfs"); err == nil || err.Error() != test.want {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

// container is a mounted stack.
type container struct {
	stack overlay.Stack
	root  string
}

// mountContainer gives a container a writable layer on image, and mounts it.
func mountContainer(t *testing.T, image string) container {
	t.Helper()
	stack, err := overlay.Prepare(t.TempDir(), []string{image})
	if err != nil {
		t.Fatal(err)
	}
	return container{stack, mounttest.Mount(t, t.TempDir(), stack.Steps)}
}

// printed is the plan that mounts the stack on /rootfs.
func printed(t *testing.T, s overlay.Stack) string {
	t.Helper()
	steps, err := s.Steps("/rootfs")
	if err != nil {
		t.Fatal(err)
	}
	var p plan.Plan
	p.Add(steps...)
	return strings.TrimSpace(p.String())
}

// many are n paths that differ at the end.
func many(n int, prefix string) (paths []string) {
	for i := range n {
		paths = append(paths, fmt.Sprintf("%s%03d", prefix, i))
	}
	return paths
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
