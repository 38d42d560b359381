package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
)

func TestRunPullsTheImageOnce(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	got := m.do("run", m.image, "sh", "-c", "echo hello; exit 3")
	if got.status != 3 || got.out != "hello\n" {
		t.Errorf("status %d, output %q: %s", got.status, got.out, got.err)
	}
	if !strings.Contains(got.err, "layer") {
		t.Errorf("no word about the layers: %q", got.err)
	}
	m.disturb.Store(refuse)
	if again := m.do("run", m.image, "echo", "again"); again.out != "again\n" || again.err != "" {
		t.Errorf("the second run: %+v", again)
	}
	m.wantNothing()
}

func TestTheImageSaysWhatRuns(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	m.image = m.push("more:1", image(t, assemble.Options{Config: ocispec.ImageConfig{
		Entrypoint: []string{"sh", "-c", `echo "$0 $@, $COLOUR, $HOME, $(id -un), $(pwd)"`, "called with"},
		Cmd:        []string{"the image's", "command"},
		Env:        []string{"PATH=/bin", "COLOUR=blue"},
		WorkingDir: "/work",
		User:       "guest",
	}}))
	m.pulled()
	for want, command := range map[string][]string{
		"called with the image's command, blue, /home/guest, guest, /work\n": nil,
		"called with ours, blue, /home/guest, guest, /work\n":                {"ours"},
	} {
		if out := m.run(nil, command...); out != want {
			t.Errorf("%q: got %q, want %q", command, out, want)
		}
	}
}

func TestFlagsChangeTheProcess(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	for _, c := range []struct {
		flags  []string
		script string
		want   string
	}{
		{[]string{"-e", "COLOUR=red", "-e", "SIZE=1 m"}, "echo $COLOUR $SIZE", "red 1 m\n"},
		{[]string{"--workdir", "/etc"}, "pwd", "/etc\n"},
		{[]string{"--user", "guest"}, "echo $(id) $HOME", "uid=1000(guest) gid=1001(guest) groups=1001(guest),1002(friends) /home/guest\n"},
		{[]string{"-u", "12:34"}, "id", "uid=12 gid=34 groups=34\n"},
		{[]string{"--name", "box"}, "hostname; cat /etc/hostname", "box\nbox\n"},
		{[]string{"--hostname", "sea"}, "hostname; cat /etc/hostname", "sea\nsea\n"},
		{[]string{"--tty"}, "tty", "/dev/pts/0\r\n"},
		{[]string{"--read-only"}, "touch /new 2>&1 || true", "touch: /new: Read-only file system\n"},
		{nil, "touch /new && ls /new", "/new\n"},
		{nil, "ls /new 2>&1 || true", "ls: /new: No such file or directory\n"}, // what a container writes goes with it
	} {
		if out := m.run(c.flags, "sh", "-c", c.script); out != c.want {
			t.Errorf("%v: %s\n got %q\nwant %q", c.flags, c.script, out, c.want)
		}
	}
	m.wantNothing()
}

func TestLimits(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	// Version 1 and version 2 of cgroups call them differently.
	const script = `cd /sys/fs/cgroup
cat memory.max memory/memory.limit_in_bytes 2>/dev/null
cat pids.max pids/pids.max 2>/dev/null
cat cpu.max cpu/cpu.cfs_quota_us 2>/dev/null`
	out := m.run([]string{"--memory", "64m", "--pids-limit", "50", "--cpus", "0.5"}, "sh", "-c", script+"; true")
	if got := strings.TrimSuffix(strings.TrimSpace(out), " 100000"); got != "67108864\n50\n50000" {
		t.Errorf("limits inside: %q", out)
	}
	// More than it may have: the kernel ends the program.
	greedy := m.do("run", "--memory", "16m", m.image, "sh", "-c", "x=x; while :; do x=$x$x; done")
	if greedy.status != 137 {
		t.Errorf("a program that takes all memory: status %d, want 137: %s", greedy.status, greedy.err)
	}
	m.wantNothing()
}

func TestVolumes(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	shared := t.TempDir()
	m.run([]string{"-v", shared + ":/data"}, "sh", "-c", "echo from inside > /data/file")
	if got := readFile(t, filepath.Join(shared, "file")); got != "from inside\n" {
		t.Errorf("the host reads %q", got)
	}
	out := m.run([]string{"-v", shared + ":/data:ro"}, "sh", "-c", "cat /data/file; echo more 2>&1 > /data/file || true")
	if !strings.HasPrefix(out, "from inside\n") || readFile(t, filepath.Join(shared, "file")) != "from inside\n" {
		t.Errorf("read-only: %q", out)
	}
}

func TestNetworks(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	if out := m.run([]string{"--network", "none"}, "/probe", "network"); strings.Contains(out, "eth0") || !strings.Contains(out, "link lo") {
		t.Errorf("none: %s", out)
	}
	ours, err := os.Readlink("/proc/self/ns/net")
	m.must(err)
	if out := m.run([]string{"--network", "host"}, "readlink", "/proc/self/ns/net"); out != ours+"\n" {
		t.Errorf("host: it is in %s, we are in %s", out, ours)
	}
	out := m.run([]string{"--network", "bridge", "--name", "box"}, "/probe", "network")
	testkit.Golden(t, out, "bridge.golden")
	gateway := regexp.MustCompile(`(?m)^route 0.0.0.0/0 via (\S+)`).FindStringSubmatch(out)
	if gateway == nil {
		t.Fatalf("no default route: %s", out)
	}
	ping := m.run([]string{"--name", "box"}, "sh", "-c", "ping -c 1 -W 2 "+gateway[1]+" && cat /etc/hosts")
	if !strings.Contains(ping, " 0% packet loss") || !regexp.MustCompile(`(?m)^[\d.]+\tbox$`).MatchString(ping) {
		t.Errorf("the bridge does not answer, or its name has no address: %s", ping)
	}
}

func TestTwoContainersReachEachOther(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	const script = "/probe network; echo ready; exec sleep 1000"
	one := m.start("ready", "run", "--name", "one", m.image, "sh", "-c", script)
	two := m.start("ready", "run", "--name", "two", m.image, "sh", "-c", script)
	address := regexp.MustCompile(`(?m)^address eth0 ([\d.]+)/`)
	first, second := address.FindStringSubmatch(one.said()), address.FindStringSubmatch(two.said())
	if first == nil || second == nil || first[1] == second[1] {
		t.Fatalf("addresses %q and %q", first, second)
	}
	out := m.run(nil, "sh", "-c", fmt.Sprintf("ping -c 1 -W 2 %s && ping -c 1 -W 2 %s", first[1], second[1]))
	if strings.Count(out, " 0% packet loss") != 2 {
		t.Error(out)
	}
	for _, r := range []*running{one, two} {
		r.signal(15)
		if status := r.end(); status != 137 {
			t.Errorf("status %d, want 137: %s", status, r.said())
		}
	}
	m.wantNothing()
}

func TestExplainPrintsTheSteps(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	got := m.do("run", "--explain", m.image)
	for _, step := range []string{"# stack the layers (chapter 4)", `fsopen("overlay"`, "pivot_root(", " µs  "} {
		if !strings.Contains(got.err, step) {
			t.Errorf("no %q in\n%s", step, got.err)
		}
	}
	if got.status != 0 || got.out != "the image's command\n" {
		t.Errorf("status %d, output %q", got.status, got.out)
	}
}

func TestImagesCanBeListedAndRemoved(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	digest := strings.TrimSpace(m.do("pull", m.image).out)
	if want, err := image(t, assemble.Options{Config: plain}).Digest(); err != nil || digest != want.String() {
		t.Errorf("pull prints %q, want %s (%v)", digest, want, err)
	}
	if list := m.do("images", "--digests").out; !strings.Contains(list, m.image) || !strings.Contains(list, digest[7:19]) {
		t.Errorf("images: %s", list)
	}
	if got := m.do("rmi", m.image); got.status != 0 {
		t.Errorf("rmi: %s", got.err)
	}
	if list := m.do("images").out; strings.Contains(list, m.image) {
		t.Errorf("images after rmi: %s", list)
	}
	blobs, err := filepath.Glob(filepath.Join(m.root, "images/blobs/sha256/*"))
	if err != nil || len(blobs) > 0 {
		t.Errorf("rmi leaves %v, %v", blobs, err)
	}
}

// With --init the program is not process 1, and what it leaves behind is waited
// for: the orphan below is gone as soon as it has ended.
func TestASmallProcessOneWaitsForOrphans(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	const script = `(sleep 0.1 & echo $! >/orphan); pid=$(cat /orphan)
test $$ != 1 && readlink /proc/1/exe
for i in 1 2 3 4 5 6 7 8 9 10; do test -d /proc/$pid || { echo waited for; exit 7; }; sleep 0.1; done`
	got := m.do("run", "--init", m.image, "sh", "-c", script)
	if got.status != 7 || got.out != "/dev/skiff-init\nwaited for\n" {
		t.Errorf("%+v", got)
	}
	m.wantNothing()
}
