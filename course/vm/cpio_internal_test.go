package vm

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// tree is one file of each kind, and names and contents of every length modulo
// four.
func tree(t *testing.T) []rootfs.File {
	t.Helper()
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, []byte("from the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []rootfs.File{
		{Name: "d", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Name: "d/e", Mode: 0o644},
		{Name: "d/one", Mode: 0o600, Data: []byte("1")},
		{Name: "d/two2", Mode: fs.ModeSetuid | 0o755, Data: []byte("22")},
		{Name: "d/three", Mode: 0o644, Data: []byte("333")},
		{Name: "d/copy", Mode: 0o755, Source: source},
		{Name: "link", Mode: fs.ModeSymlink | 0o777, Link: "d/three"},
	}
}

// busybox is the judge: it unpacks what the kernel would.
func TestTheArchiveIsUnpackedByOthers(t *testing.T) {
	testkit.Need(t, "busybox", "sh", "find")
	var archive bytes.Buffer
	if err := writeCPIO(&archive, tree(t)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-euc", `
		busybox cpio -idm 2>/dev/null
		find d -type d -printf '%M %p\n'
		find * -type f -printf '%M %s %TY %p\n' | LC_ALL=C sort -k4
		cat link d/one d/two2 d/copy`)
	cmd.Dir, cmd.Stdin = t.TempDir(), &archive
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	testkit.Golden(t, string(out), "cpio.golden")
}

func TestTheArchiveIsTheSameEachTime(t *testing.T) {
	files := tree(t)
	var one, two bytes.Buffer
	for _, w := range []*bytes.Buffer{&one, &two} {
		if err := writeCPIO(w, files); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two archives of the same files differ")
	}
}

func TestADeviceIsNotForTheArchive(t *testing.T) {
	err := writeCPIO(&bytes.Buffer{}, []rootfs.File{{Name: "null", Mode: fs.ModeDevice | 0o666}})
	if err == nil {
		t.Error("no error")
	}
}
