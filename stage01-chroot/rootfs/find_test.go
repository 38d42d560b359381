package rootfs_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/binfmt"
)

func TestACommandIsFoundInTheRootAndNotOnTheHost(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(root+"/usr/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/elsewhere/box", root+"/usr/bin/dangling"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/usr/bin/box", nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"box": "/usr/bin/box", "./box": "./box", "/no/such": "/no/such",
	} {
		if got, err := binfmt.Find(root, command); got != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", command, got, err, want)
		}
	}
	for _, command := range []string{"sh", "dangling"} {
		if got, err := binfmt.Find(root, command); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%q: got %q, %v; want ENOENT", command, got, err)
		}
	}
}
