// Limits as a program in the group feels them. The fork bomb, the memory hog
// and the loop that is slowed down are in pressure_test.go.

package cgroup_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
)

// Only the processor that it was given: nproc(1) asks sched_getaffinity(2). One
// that the machine does not have is an error.
func TestAProcessorIsAllThatItGets(t *testing.T) {
	testkit.HostUnchanged(t)
	unified(t) // for its clean-up
	m := create(t, detect(t), "cpuset")
	must(t, m.Set(resources(t, `{"cpu": {"cpus": "0"}}`)))
	if got := start(t, m, "nproc").rest(); got != "1" {
		t.Errorf("the program may use %s processors", got)
	}
	err := m.Set(resources(t, `{"cpu": {"cpus": "100000"}}`))
	if err == nil || hint.Of(err) == "" {
		t.Errorf("processor 100000: %v, hint %q", err, hint.Of(err))
	}
}

// An idle group gets what others leave, and none here: both want the one
// processor.
func TestAnIdleGroupWaits(t *testing.T) {
	testkit.HostUnchanged(t)
	unified(t) // for its clean-up
	h := detect(t)
	idle, busy := create(t, h, "idle"), create(t, h, "busy")
	must(t, idle.Set(resources(t, `{"cpu": {"idle": 1, "cpus": "0"}}`)))
	must(t, busy.Set(resources(t, `{"cpu": {"shares": 1024, "cpus": "0"}}`)))
	start(t, idle, "while :; do :; done")
	start(t, busy, "while :; do :; done")
	eventually(t, "the busy one ran for half a second", func() bool {
		s, err := busy.Stats()
		must(t, err)
		return s.CPU.Usage > 500*time.Millisecond
	})
	s, err := idle.Stats()
	must(t, err)
	if s.CPU.Usage > 150*time.Millisecond {
		t.Errorf("the idle one ran for %v", s.CPU.Usage)
	}
}

// Reading past the page cache, at one megabyte a second: the device is a loop
// device on a file.
func TestReadingIsSlowedDown(t *testing.T) {
	testkit.HostUnchanged(t)
	unified(t) // for its clean-up
	m := create(t, detect(t), "io")
	device := loop(t, 8<<20)
	must(t, m.Set(resources(t, fmt.Sprintf(`{"blockIO": {"throttleReadBpsDevice": [{"major": %d, "minor": %d, "rate": 1048576}]}}`, device.major, device.minor))))
	begin := time.Now()
	out := start(t, m, "dd if="+device.path+" of=/dev/null bs=256k count=6 iflag=direct 2>&1").rest()
	if !strings.Contains(out, "1572864 bytes") {
		t.Fatalf("dd said %q", out)
	}
	if took := time.Since(begin); took < 900*time.Millisecond {
		t.Errorf("1.5 MiB at 1 MiB/s took %v", took)
	}
	s, err := m.Stats()
	must(t, err)
	name := fmt.Sprintf("%d:%d", device.major, device.minor)
	for _, d := range s.IO {
		if d.Device == name && d.RBytes >= 1572864 && d.RIOs >= 6 {
			return
		}
	}
	t.Errorf("the statistics do not have it: %+v", s.IO)
}

type blockDevice struct {
	path         string
	major, minor uint32
}

// loop makes a block device of a new file; it goes after the test.
func loop(t *testing.T, size int64) blockDevice {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Truncate(file, size))
	path := run(t, "losetup -f --show "+file)
	t.Cleanup(func() { run(t, "losetup -d "+path) })
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return blockDevice{path, unix.Major(st.Rdev), unix.Minor(st.Rdev)}
}

// A number that no disk has, and a quota that the kernel takes from nobody: the
// hints say what was wrong.
func TestWhatTheKernelRefuses(t *testing.T) {
	testkit.HostUnchanged(t)
	unified(t) // for its clean-up
	h := detect(t)
	m := create(t, h, "refused")
	for _, test := range []struct {
		resources string
		errno     unix.Errno
		hint      string
	}{
		{`{"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 1, "rate": 1}]}}`, unix.ENODEV, "no disk with that number"},
		{`{"cpu": {"quota": 1}}`, unix.EINVAL, "at least 1000 microseconds"},
		{`{"cpu": {"period": 1}}`, unix.EINVAL, "1000 to 1000000 microseconds"},
		{`{"cpu": {"burst": 1000000000000000000}}`, unix.EINVAL, "at most the quota"},
		{`{"cpu": {"idle": 2}}`, unix.EINVAL, "0 is an ordinary group"},
		{`{"cpu": {"mems": "100"}}`, unix.EINVAL, "of what the machine has"},
		{`{"pids": {"limit": 9223372036854775807}}`, unix.EINVAL, "4194304"},
	} {
		err := m.Set(resources(t, test.resources))
		if !errors.Is(err, test.errno) || !strings.Contains(hint.Of(err), test.hint) {
			t.Errorf("%s: %v, hint %q", test.resources, err, hint.Of(err))
		}
	}
}
