package hoststate_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage01-chroot/testkit/hoststate"
)

// Each test leaves one thing on the host, sees it in the difference, and
// removes it: the HostUnchanged of its first line proves that the difference
// is empty again.

func TestMain(m *testing.M) { os.Exit(testkit.InNewNetwork(m)) }

func TestAMountIsSeenAndSoIsItsChange(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	before := take(t)
	must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	wantLeft(t, before, "mount left behind: "+dir+": ")

	before = take(t)
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	wantLeft(t, before, "mount changed: "+dir+": ")

	before = take(t)
	must(t, unix.Unmount(dir, 0))
	wantLeft(t, before, "mount gone: "+dir+": ")
}

func TestASecondMountOnTheSamePlaceIsSeen(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", 0, ""))
	before := take(t)
	must(t, unix.Mount("none", dir, "tmpfs", 0, ""))
	wantLeft(t, before, "mount left behind: "+dir+": ")
	must(t, unix.Unmount(dir, 0))
	must(t, unix.Unmount(dir, 0))
}

func TestAControlGroupIsSeenInEveryHierarchy(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, hierarchy := range hierarchies(t) {
		group := filepath.Join(hierarchy, "skiff-hoststate-test")
		before := take(t)
		must(t, os.MkdirAll(filepath.Join(group, "below"), 0o755))
		wantLeft(t, before, "cgroup left behind: ", ":/skiff-hoststate-test (", ":/skiff-hoststate-test/below (")
		must(t, unix.Rmdir(filepath.Join(group, "below")))
		must(t, unix.Rmdir(group))
	}
}

func TestANamespaceIsSeenAsLongAsADescriptorHoldsIt(t *testing.T) {
	testkit.HostUnchanged(t)
	before := take(t)
	child := start(t, unix.CLONE_NEWUTS, "sleep", "60")
	wantLeft(t, before, "namespace left behind: uts:[", "held by pid")

	held, err := os.Open(fmt.Sprintf("/proc/%d/ns/uts", child.Process.Pid))
	must(t, err)
	end(t, child)
	wantLeft(t, before, "namespace left behind: uts:[", "of this process")
	must(t, held.Close())
}

func TestANamespaceIsSeenAsLongAsItIsMounted(t *testing.T) {
	testkit.HostUnchanged(t)
	place := filepath.Join(t.TempDir(), "uts")
	must(t, os.WriteFile(place, nil, 0o600))
	before := take(t)
	child := start(t, unix.CLONE_NEWUTS, "sleep", "60")
	must(t, unix.Mount(fmt.Sprintf("/proc/%d/ns/uts", child.Process.Pid), place, "", unix.MS_BIND, ""))
	end(t, child)
	wantLeft(t, before, "namespace left behind: uts:[", "mounted on")
	must(t, unix.Unmount(place, 0))
}

func TestALinkItsAddressAndItsRouteAreSeen(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "ip")
	before := take(t)
	run(t, "ip", "link", "add", "skiff0", "type", "veth", "peer", "name", "skiff1")
	wantLeft(t, before, "link left behind: skiff0: ", "link left behind: skiff1: ")

	before = take(t)
	run(t, "ip", "address", "add", "192.0.2.1/24", "dev", "skiff0")
	run(t, "ip", "link", "set", "skiff0", "up")
	run(t, "ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.9", "dev", "skiff0", "table", "1234", "onlink")
	wantLeft(t, before, "link changed: skiff0: ", "address left behind: 192.0.2.1/24 on skiff0",
		"route left behind: 198.51.100.0/24 via 192.0.2.9 dev skiff0 table 1234 ")
	run(t, "ip", "link", "delete", "skiff0")
}

func TestASwitchOfTheNetworkStackIsSeen(t *testing.T) {
	testkit.HostUnchanged(t)
	const file = "/proc/sys/net/ipv4/ip_forward" // of the tests' own network namespace
	old, err := os.ReadFile(file)
	must(t, err)
	before := take(t)
	must(t, os.WriteFile(file, []byte{old[0] ^ 1}, 0o600))
	wantLeft(t, before, "sysctl changed: net.ipv4.ip_forward: ")
	must(t, os.WriteFile(file, old, 0o600))
}

func TestAPacketFilterIsSeen(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "nft")
	before := take(t)
	run(t, "nft", "add table inet skifftest; "+
		"add chain inet skifftest forward { type filter hook forward priority 0; policy accept; }; "+
		"add rule inet skifftest forward counter accept")
	wantLeft(t, before, "nft table left behind: inet skifftest",
		"nft chain left behind: inet skifftest forward: policy accept",
		"nft rule left behind: inet skifftest forward handle ")

	before = take(t)
	run(t, "nft", "add chain inet skifftest forward { policy drop; }")
	wantLeft(t, before, "nft chain changed: inet skifftest forward: policy accept → policy drop")
	run(t, "nft", "delete table inet skifftest")
}

func TestAProcessIsSeenUntilItIsWaitedFor(t *testing.T) {
	testkit.HostUnchanged(t)
	before := take(t)
	child := start(t, 0, "sleep", "60")
	wantLeft(t, before, fmt.Sprintf("process left behind: pid %d (sleep, state ", child.Process.Pid))

	must(t, child.Process.Kill())
	waitDead(t, child.Process.Pid)
	wantLeft(t, before, fmt.Sprintf("process left behind: pid %d (sleep, state Z, ", child.Process.Pid))
	end(t, child)
}

func TestAnOrphanComesToUsAndIsSeen(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	before := take(t)
	out := run(t, "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
	wantLeft(t, before, "process left behind: pid "+strings.TrimSpace(out)+" (")
	run(t, "kill", "-KILL", strings.TrimSpace(out))
}

func TestAnOpenDescriptorIsSeen(t *testing.T) {
	testkit.HostUnchanged(t)
	before := take(t)
	leaked, err := os.Open("/etc/passwd")
	must(t, err)
	wantLeft(t, before, "descriptor left behind: /etc/passwd (descriptor ")
	must(t, leaked.Close())
}

func TestAStateFolderAndAFileInItAreSeenAndSoIsTheirMode(t *testing.T) {
	testkit.HostUnchanged(t)
	const folder = "/run/skiff-oci/hoststate-test"
	_, err := os.Stat(filepath.Dir(folder))
	if os.IsNotExist(err) {
		defer os.Remove(filepath.Dir(folder))
	}
	before := take(t)
	must(t, os.MkdirAll(folder, 0o700))
	must(t, os.WriteFile(folder+"/state.json", nil, 0o600))
	wantLeft(t, before, "folder left behind: "+folder+": drwx------",
		"file left behind: "+folder+"/state.json: -rw-------")

	before = take(t)
	must(t, os.Chmod(folder, 0o755))
	wantLeft(t, before, "folder changed: "+folder+": drwx------ → drwxr-xr-x")
	must(t, os.RemoveAll(folder))
}

// wantLeft fails unless each text is in a line of what changed since before.
func wantLeft(t *testing.T, before hoststate.State, texts ...string) {
	t.Helper()
	diff := strings.Join(before.Diff(take(t)), "\n")
	for _, text := range texts {
		if !strings.Contains(diff, text) {
			t.Errorf("no line with %q in the difference:\n%s", text, diff)
		}
	}
}

func take(t *testing.T) hoststate.State {
	t.Helper()
	state, err := hoststate.Take()
	must(t, err)
	return state
}

// hierarchies returns where the cgroup hierarchies are mounted in which this
// process is in the root, so that a new group disturbs nobody.
func hierarchies(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	own, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	var points []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line) // source, mount point, type, …
		v2 := fields[2] == "cgroup2"
		pids := fields[2] == "cgroup" && filepath.Base(fields[1]) == "pids" && bytes.Contains(own, []byte(":pids:/\n"))
		if v2 || pids {
			points = append(points, fields[1])
		}
	}
	if len(points) == 0 {
		t.Fatal("no cgroup hierarchy is mounted")
	}
	return points
}

// start starts a program in new namespaces and returns when it runs: Start
// waits for execve(2).
func start(t *testing.T, namespaces uintptr, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	must(t, cmd.Start())
	return cmd
}

// end kills a program and waits for it; that it was killed is no error.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil && err != os.ErrProcessDone {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
}

// waitDead waits until a child is dead, and leaves it as it is: waitid(2).
func waitDead(t *testing.T, pid int) {
	t.Helper()
	must(t, unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
