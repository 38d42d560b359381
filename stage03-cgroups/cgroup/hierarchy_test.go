// Finding the hierarchies: from what six kinds of machine say of themselves,
// and on this one.

package cgroup_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// machines are what machines of each kind say in /proc/self/mountinfo and
// /proc/self/cgroup, cut to what matters.
var machines = []struct {
	name, mountinfo, self string
	mode                  cgroup.Mode
	want                  string // one line for each hierarchy
}{
	{
		name: "systemd, v2 only",
		mountinfo: `
24 30 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
31 24 0:28 / /sys/fs/bpf rw,nosuid,nodev,noexec,relatime shared:11 - bpf bpf rw,mode=700`,
		self: "0::/user.slice/user-0.slice/session-3.scope",
		mode: cgroup.Unified,
		want: `v2 /sys/fs/cgroup /user.slice/user-0.slice/session-3.scope`,
	},
	{
		name: "systemd, v1 with controllers mounted together",
		mountinfo: `
25 18 0:21 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755
26 25 0:22 / /sys/fs/cgroup/systemd rw,nosuid shared:9 - cgroup cgroup rw,xattr,release_agent=/lib/systemd/systemd-cgroups-agent,name=systemd
29 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:13 - cgroup cgroup rw,cpu,cpuacct
30 25 0:26 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid shared:14 - cgroup cgroup rw,net_cls,net_prio
31 25 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:15 - cgroup cgroup rw,memory`,
		self: "7:memory:/init.scope\n4:net_cls,net_prio:/\n3:cpu,cpuacct:/init.scope\n2:freezer:/\n1:name=systemd:/init.scope",
		mode: cgroup.Legacy,
		want: `
memory /sys/fs/cgroup/memory /init.scope
net_cls,net_prio /sys/fs/cgroup/net_cls,net_prio /
cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct /init.scope
name=systemd /sys/fs/cgroup/systemd /init.scope`,
	},
	{
		name: "hybrid, v2 with the controllers that are left",
		mountinfo: `
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`,
		self: "9:name=systemd:/\n4:memory:/a:b\n0::/",
		mode: cgroup.Hybrid,
		want: `
name=systemd /sys/fs/cgroup/systemd /
memory /sys/fs/cgroup/memory /a:b
v2 /sys/fs/cgroup/unified /`,
	},
	{
		name: "in a container without a cgroup namespace",
		mountinfo: `
900 898 0:32 /docker/5f0c /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:15 - cgroup memory rw,memory`,
		self: "4:memory:/docker/5f0c",
		mode: cgroup.Legacy,
		want: `memory /sys/fs/cgroup/memory /docker/5f0c`,
	},
	{
		name: "a part mounted elsewhere before the whole, with a space in the path",
		mountinfo: `
50 1 0:26 /sub /srv/other rw - cgroup2 cgroup2 rw
51 1 0:26 / /srv/my\040groups rw - cgroup2 cgroup2 rw`,
		self: "0::/",
		mode: cgroup.Unified,
		want: `v2 /srv/my groups /`,
	},
	{
		name: "mounted at the usual place and elsewhere",
		mountinfo: `
50 1 0:26 / /srv/other rw - cgroup2 cgroup2 rw
51 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw`,
		self: "0::/",
		mode: cgroup.Unified,
		want: `v2 /sys/fs/cgroup /`,
	},
}

// show is one line for each hierarchy.
func show(h *cgroup.Hierarchies) string {
	var lines []string
	for _, v1 := range h.V1 {
		lines = append(lines, fmt.Sprintln(strings.Join(v1.Controllers, ","), v1.MountPoint, v1.Self))
	}
	if h.V2 != nil {
		lines = append(lines, fmt.Sprintln("v2", h.V2.MountPoint, h.V2.Self))
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}

func TestMachinesOfEachKindAreUnderstood(t *testing.T) {
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			h, err := cgroup.Parse(m.mountinfo[1:]+"\n", m.self+"\n")
			if err != nil {
				t.Fatal(err)
			}
			if h.Mode() != m.mode {
				t.Errorf("mode %v, want %v", h.Mode(), m.mode)
			}
			if got := show(h); got != strings.TrimSpace(m.want) {
				t.Errorf("hierarchies:\n%s\nwant:\n%s", got, m.want)
			}
		})
	}
}

func TestAMachineWithoutCgroupsSaysWhatToDo(t *testing.T) {
	_, err := cgroup.Parse("24 30 0:22 / /sys rw - sysfs sysfs rw\n", "0::/\n")
	if err == nil || err.Error() != "cgroup: no cgroup file system is mounted" || !strings.Contains(hint.Of(err), "mount -t cgroup2") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
}

// stat(1) must find a cgroup file system wherever we say that one is, and
// mount(8) must list as many as we found.
func TestThisMachine(t *testing.T) {
	h := detect(t)
	places := h.V1
	if h.V2 != nil {
		places = append(places, *h.V2)
	}
	for _, place := range places {
		kind, err := exec.Command("stat", "-f", "-c", "%T", place.MountPoint).Output()
		want := "cgroupfs\n"
		if len(place.Controllers) == 0 {
			want = "cgroup2fs\n"
		}
		if err != nil || string(kind) != want {
			t.Errorf("%s: stat says %q (%v), want %q", place.MountPoint, kind, err, want)
		}
	}
}

// An engine that gives a test or a container a private /sys/fs/cgroup hides
// the mounts below; mountinfo lists them still.
//
// The test runs itself again in a mount namespace where only pids is left.
func TestHiddenMountsAreNotUsed(t *testing.T) {
	if run(t, "grep -c ' - tmpfs skiff-test ' /proc/self/mountinfo || true") != "0" {
		if got := show(detect(t)); got != "pids /sys/fs/cgroup/p /" {
			t.Errorf("found:\n%s\nwant pids at /sys/fs/cgroup/p alone", got)
		}
		return
	}
	testkit.HostUnchanged(t)
	legacy(t)
	script := `places=$(ls -d /sys/fs/cgroup/*)
		mount -t tmpfs skiff-test /sys/fs/cgroup; mkdir $places /sys/fs/cgroup/p
		mount -t cgroup -o pids cgroup /sys/fs/cgroup/p
		exec "$0" -test.v -test.run='^TestHiddenMountsAreNotUsed$'`
	out, err := exec.Command("unshare", "-m", "sh", "-euc", script, testProgram(t)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestHiddenMountsAreNotUsed") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPathsThatAreNoGroupAreRefused(t *testing.T) {
	h := &cgroup.Hierarchies{V2: &cgroup.Hierarchy{MountPoint: "/sys/fs/cgroup"}}
	for _, path := range []string{"", "/", "//", "/.", ".", "/a/../b", "a/..", "/..", "..", "/a\nb", "/a\x00"} {
		if _, err := h.New(path); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%q: %v, want %v", path, err, unix.EINVAL)
		}
	}
	for _, path := range []string{"//pod/./web..1/", "pod/web..1"} {
		m := manager(t, h, path)
		if got := m.Paths()[""]; got != "/sys/fs/cgroup/pod/web..1" {
			t.Errorf("%q: path %q", path, got)
		}
	}
}

// The name of a unit is no path: the container would be where nobody looks.
func TestNamesOfSystemdsUnitsAreRefused(t *testing.T) {
	h := &cgroup.Hierarchies{V2: &cgroup.Hierarchy{MountPoint: "/sys/fs/cgroup"}}
	for _, path := range []string{"machine.slice:libpod:5f0c", "system.slice:docker:web", ":skiff:web"} {
		_, err := h.New(path)
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "systemd") || !strings.Contains(hint.Of(err), "cgroupfs") {
			t.Errorf("%q: %v, hint %q", path, err, hint.Of(err))
		}
	}
	if m := manager(t, h, "/a:b:c"); m.Paths()[""] != "/sys/fs/cgroup/a:b:c" {
		t.Errorf("an absolute path with colons became %v", m.Paths())
	}
}
