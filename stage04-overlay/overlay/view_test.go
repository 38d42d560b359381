package overlay_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/overlay"
)

// A view is there for who holds its descriptor, and nowhere else.
func TestAViewShowsLayersWithoutAContainer(t *testing.T) {
	testkit.HostUnchanged(t)
	above, below := t.TempDir(), t.TempDir()
	write(t, below+"/both", "below")
	write(t, below+"/gone", "")
	write(t, above+"/both", "above")
	if err := unix.Mknod(above+"/gone", unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		layers []string
		want   []string
	}{
		{[]string{above, below}, []string{"both=above"}},
		{[]string{below}, []string{"both=below", "gone="}},
	} {
		view, err := overlay.View(c.layers)
		if err != nil {
			t.Fatal(err)
		}
		defer view.Close()
		root := fmt.Sprintf("/proc/self/fd/%d/", view.Fd())
		is(t, root, c.want...)
		if len(c.layers) > 1 && os.WriteFile(root+"new", nil, 0o600) == nil {
			t.Error("a view of several layers can be written to")
		}
	}
	if _, err := overlay.View(nil); err == nil {
		t.Error("no layers, no error")
	}
}
