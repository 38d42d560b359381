package passes_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The machine as tests find it: version 2 only, with every controller.
func TestControlGroupsAreOfVersion2(t *testing.T) {
	controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		t.Fatal(err)
	}
	if want := "cpuset cpu io memory hugetlb pids rdma misc\n"; string(controllers) != want {
		t.Errorf("controllers %q, want %q", controllers, want)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), " cgroup ") {
		t.Errorf("control groups of version 1 are mounted:\n%s", mounts)
	}
}

// What the kernel unpacked the initramfs into could not be left.
func TestTheRootCanBeLeft(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", "/mnt", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chdir("/mnt"); err != nil {
		t.Fatal(err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		t.Errorf("pivot_root: %v", err)
	}
}
