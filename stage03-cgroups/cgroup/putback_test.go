// An update that fails has not happened: what it has written before the kernel
// refused the rest is put back.

package cgroup_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// said is what the files of the group say that hold limits.
func said(t *testing.T, m *cgroup.Manager) string {
	t.Helper()
	var dirs string
	for _, dir := range m.Paths() {
		dirs += " " + dir
	}
	return run(t, "for d in "+dirs+`; do cd $d; grep -H . /dev/null *.limit_in_bytes *.max *.weight *_device memory.swap* memory.low \
		memory.oom_control cpu.shares cpu.idle cpu.*_us cpu.max.burst cpuset.cpus cpuset.mems 2> /dev/null || true; done | sort -u`)
}

func TestAFailedUpdateIsPutBack(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, detect(t), "back")
	major, minor := disk(t)
	limits := func(all, io, more string) error {
		if major != "" { // else this machine has no disk
			all += `, "blockIO": ` + strings.NewReplacer("MAJOR", major, "MINOR", minor).Replace(io)
		}
		return m.Set(resources(t, "{"+all+more+"}"))
	}

	first := said(t, m)
	const up = `"memory": {"limit": 134217728, "swap": 268435456, "reservation": 33554432}, "pids": {"limit": 20},
		"cpu": {"shares": 512, "quota": 40000, "period": 80000, "burst": 20000, "cpus": "0", "mems": "0"}`
	const upIO = `{"throttleReadBpsDevice": [{"major": MAJOR, "minor": MINOR, "rate": 1048576}],
		"throttleWriteIOPSDevice": [{"major": MAJOR, "minor": MINOR, "rate": 100}]}`
	const bad = `, "hugepageLimits": [{"pageSize": "3MB", "limit": 0}]`
	if err := limits(up, upIO, bad); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("error %v, want %v", err, unix.ENOENT)
	}
	if now := said(t, m); now != first {
		t.Errorf("after the failure:\n%s\nbefore:\n%s", now, first)
	}
	must(t, limits(up, upIO, ""))
	second := said(t, m)
	if second == first {
		t.Fatal("nothing was set")
	}
	const down = `"memory": {"limit": 67108864, "swap": 67108864}, "cpu": {"quota": 10000, "period": 10000, "burst": 0}, "pids": {"limit": 5}`
	const downIO = `{"throttleReadBpsDevice": [{"major": MAJOR, "minor": MINOR, "rate": 0}],
		"throttleReadIOPSDevice": [{"major": MAJOR, "minor": MINOR, "rate": 7}]}`
	if err := limits(down, downIO, bad); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("error %v, want %v", err, unix.ENOENT)
	}
	if now := said(t, m); now != second {
		t.Errorf("after the failure:\n%s\nbefore:\n%s", now, second)
	}
}
