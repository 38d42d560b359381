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

// The steps are what `plan` and `--explain` print, for each kind of stack.
func TestSteps(t *testing.T) {
	const dir = "/var/lib/skiff"
	usual := overlay.Stack{
		Lower: []string{dir + "/layers/3", dir + "/layers/2", dir + "/layers/1"},
		Upper: dir + "/containers/web/upper", Work: dir + "/containers/web/work",
	}
	user, old, odd := usual, usual, usual
	user.UserXattr, user.Volatile = true, true
	old.OnePage, old.Volatile = true, true
	odd.Lower = []string{"/srv/image", "/srv/im:age", "/opt/b"}
	var p plan.Plan
	for _, test := range []struct {
		name  string
		stack overlay.Stack
	}{
		{"a container", usual},
		{"without root, and gone with the container", user},
		{"before Linux 6.8", old},
		{"names that nobody would choose", odd},
		{"to look at only", overlay.Stack{Lower: usual.Lower}},
	} {
		var one plan.Plan
		if err := test.stack.Steps(&one, "/rootfs"); err != nil {
			t.Fatal(err)
		}
		p.Section(4, test.name)
		p.Add(one.Steps()...)
	}
	testkit.Golden(t, p.String(), "steps.golden")
}

// As many layers as overlayfs takes can be mounted, whatever their names are
// and whatever the kernel is. (Docker's limit is a quarter of it.)
func TestFiveHundredLayers(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	lower := many(500, dir+"/"+digest)
	for i, layer := range lower {
		write(t, fmt.Sprintf("%s/file%03d", layer, i), "x")
	}
	stack, err := overlay.Prepare(t.TempDir(), lower)
	if err != nil {
		t.Fatal(err)
	}
	look := func(root string) {
		if names, err := os.ReadDir(root); len(names) != 500 || err != nil {
			t.Errorf("%d files, error %v; want 500", len(names), err)
		}
	}
	mounttest.Private(t, func() { look(mounttest.Mount(t, t.TempDir(), stack.Steps)) })
	stack.OnePage = true
	if err := overlay.Shorten(&stack, filepath.Dir(stack.Upper)); err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() { look(mounttest.Mount(t, t.TempDir(), stack.Steps)) })
}

// What is wrong is told before anything is tried.
func TestStacksThatCannotBe(t *testing.T) {
	tests := map[string]struct {
		stack overlay.Stack
		want  string
	}{
		"too long": {
			overlay.Stack{Lower: many(100, "/layers/"+digest), OnePage: true},
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
			if err := test.stack.Steps(&plan.Plan{}, "/rootfs"); err == nil || err.Error() != test.want {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

// failure is the error of a stack that cannot be mounted.
func failure(t *testing.T, stack overlay.Stack) (err error) {
	t.Helper()
	var p plan.Plan
	if err := stack.Steps(&p, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() { err = plan.Run(&p) })
	closeContexts(t)
	if err == nil {
		t.Fatal("it was mounted")
	}
	return err
}

// closeContexts closes what a plan that failed in this very process has left
// open; a container's process would just have ended.
func closeContexts(t *testing.T) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range open {
		var fd int
		if _, err := fmt.Sscan(entry.Name(), &fd); err != nil {
			t.Fatal(err)
		}
		if target, _ := os.Readlink("/proc/self/fd/" + entry.Name()); target == "anon_inode:[fscontext]" {
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
	}
}

// A volatile stack waits for no disk, and is for once: overlayfs refuses to take
// its upper directory again.
func TestVolatile(t *testing.T) {
	testkit.HostUnchanged(t)
	stack, err := overlay.Prepare(t.TempDir(), []string{t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	stack.Volatile = true
	mounttest.Private(t, func() {
		root := mounttest.Mount(t, t.TempDir(), stack.Steps)
		mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
		if err != nil || !strings.Contains(string(mounts), "volatile") {
			t.Errorf("%s is not volatile (error %v)", root, err)
		}
	})
	if err := failure(t, stack); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EEXIST) {
		t.Errorf("mounted once more: %v", err)
	}
}

// digest is a name as a store of layers has it.
var digest = strings.Repeat("0123456789abcdef", 4)

// many are n paths that differ at the end.
func many(n int, prefix string) (paths []string) {
	for i := range n {
		paths = append(paths, fmt.Sprintf("%s%03d", prefix, i))
	}
	return paths
}
