package overlay_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/overlay"
)

// A writable layer that is kept goes on where it was, with the mode that its
// container gave to the root directory.
func TestAWritableLayerGoesOn(t *testing.T) {
	testkit.HostUnchanged(t)
	image, dir := t.TempDir(), t.TempDir()
	for _, word := range []string{"once", "twice"} {
		stack, err := overlay.Prepare(dir, []string{image})
		if err != nil {
			t.Fatal(err)
		}
		mounttest.Private(t, func() {
			root := mounttest.Mount(t, t.TempDir(), stack.Steps)
			write(t, root+"/"+word, "written")
			if err := os.Chmod(root, 0o751); err != nil {
				t.Fatal(err)
			}
		})
		if info, err := os.Stat(stack.Upper); err != nil || info.Mode().Perm() != 0o751 {
			t.Errorf("%s: mode %v, error %v", word, info.Mode(), err)
		}
	}
	is(t, dir+"/upper", "once=written", "twice=written")
	if got, err := overlay.Lowers(dir); err != nil || len(got) != 1 || got[0] != image {
		t.Errorf("it was made above %v, error %v", got, err)
	}
}

// Above other layers the same changes would be changes of something else.
func TestAWritableLayerBelongsToItsLayers(t *testing.T) {
	dir := t.TempDir()
	if _, err := overlay.Prepare(dir, []string{t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if _, err := overlay.Prepare(dir, []string{t.TempDir()}); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "other layers") {
		t.Errorf("got %v", err)
	}
}

// Overlayfs would let two containers write to one upper directory.
func TestAWritableLayerIsForOneContainer(t *testing.T) {
	dir := t.TempDir()
	first, err := overlay.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := overlay.Lock(dir); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v, want EBUSY", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := overlay.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
