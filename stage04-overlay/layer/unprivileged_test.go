package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/layer"
)

// firstID is which user of the host root is in the user namespace of the tests.
const firstID = 100000

// Without root's rights, layers are unpacked in a user namespace, and mounted
// with userxattr. The test runs itself in one.
func TestUnprivileged(t *testing.T) {
	if inUserNamespace(t) {
		t.Run("devices", func(t *testing.T) { mergeUnprivileged(t) })
		t.Run("files", func(t *testing.T) { withoutMknod(t, func() { mergeUnprivileged(t) }) })
		t.Run("left out", leftOut)
		return
	}
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	if err := errors.Join(os.Chown(dir, firstID, firstID), os.Chmod(filepath.Dir(dir), 0o711)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestUnprivileged$", "-test.v")
	ids := []syscall.SysProcIDMap{{HostID: firstID, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{},
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("no tests to run")) {
		t.Errorf("in a user namespace: %v\n%s", err, out)
	}
}

// inUserNamespace says whether the ids of this process are others outside.
func inUserNamespace(t *testing.T) bool {
	t.Helper()
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(ids))[1] == fmt.Sprint(firstID)
}

// mergeUnprivileged is TestLayersOnTopOfEachOther in the other form.
func mergeUnprivileged(t *testing.T) {
	for name, test := range mergeTests {
		lower := []string{t.TempDir()} // overlayfs wants two at least
		for _, lines := range test.layers {
			dir := t.TempDir()
			o := layer.Options{Lower: lower, UserXattr: true}
			if _, err := layer.Apply(dir, bytes.NewReader(archive(t, lines...)), o); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			lower = append([]string{dir}, lower...)
		}
		mountHere(t, lower, func(root string) {
			if got := list(t, root); strings.Join(got, "\n") != strings.Join(test.want, "\n") {
				t.Errorf("%s: got %q, want %q", name, got, test.want)
			}
		})
		roundTripUnprivileged(t, lower)
	}
}

// roundTripUnprivileged packs the topmost layer and unpacks it again.
func roundTripUnprivileged(t *testing.T, layers []string) {
	t.Helper()
	again := t.TempDir()
	o := layer.Options{Lower: layers[1:], UserXattr: true}
	if _, err := layer.Apply(again, bytes.NewReader(pack(t, layers[0], layer.UserXattr())), o); err != nil {
		t.Fatal(err)
	}
	same(t, withoutMarks(attributes(t, again)), withoutMarks(attributes(t, layers[0])))
}

// withoutMarks takes out that a directory has whiteouts which are files, for it
// may have had some, and the attributes of these.
func withoutMarks(lines []string) (list []string) {
	for _, line := range lines {
		if strings.HasSuffix(line, ` user.overlay.whiteout="y"`) {
			line, _, _ = strings.Cut(line, " mode ")
			line += " is a whiteout"
		}
		list = append(list, strings.TrimSuffix(line, ` user.overlay.opaque="x"`))
	}
	return list
}

// mountHere mounts layers read-only, in the mount namespace of the thread.
func mountHere(t *testing.T, lower []string, f func(root string)) {
	t.Helper()
	root := t.TempDir()
	options := "userxattr,lowerdir=" + strings.Join(lower, ":")
	if err := unix.Mount("overlay", root, "overlay", unix.MS_RDONLY, options); err != nil {
		t.Fatalf("mount overlay with %s: %v", options, err)
	}
	f(root)
	if err := unix.Unmount(root, 0); err != nil {
		t.Fatal(err)
	}
}

// withoutMknod runs f where mknod(2) is forbidden, as a security module may do.
func withoutMknod(t *testing.T, f func()) {
	t.Helper()
	mounttest.Private(t, func() { // a thread of its own, which ends thereafter
		runtime.LockOSThread()
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the system call
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_MKNODAT, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		// Safety: filter is alive until the kernel has copied it.
		program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
		runtime.KeepAlive(filter)
		if errno != 0 {
			t.Fatal(errno)
		}
		f()
	})
}

// leftOut checks what becomes of what only root can make.
func leftOut(t *testing.T) {
	dir := t.TempDir()
	device := tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Uid: 5, Devmajor: 1, Devminor: 3}
	attribute := tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o4755, Gid: 6, PAXRecords: map[string]string{
		"SCHILY.xattr.trusted.a": "1", "SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.overlay.whiteout": "y",
	}}
	o := layer.Options{UserXattr: true}
	got, err := layer.Apply(dir, bytes.NewReader(archiveOf(t, device, attribute)), o)
	if want := (layer.Summary{Inodes: 2, Devices: 1}); got != want || err != nil {
		t.Errorf("got %+v, error %v; want %+v", got, err, want)
	}
	same(t, attributes(t, dir)[1:], []string{
		`a mode 104755 owner 0:6 device 0x0 time 0.000000000 content "" user.a="1"`,
		`null mode 100666 owner 5:0 device 0x0 time 0.000000000 content ""`,
	})
	stranger := tar.Header{Typeflag: tar.TypeReg, Name: "a", Uid: 70000}
	_, err = layer.Apply(t.TempDir(), bytes.NewReader(archiveOf(t, stranger)), o)
	if want := `unpack "a": chown to 70000:0: invalid argument`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("an owner that the namespace has not: %v, want %s", err, want)
	}
}
