package doctor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"skiff.example/final/doctor"
	"skiff.example/stage01-chroot/testkit"
)

// TestMain lets the test program be what doctor's users are: with the argument
// try, the child that makes a trial; with doctor, a program that examines the
// machine, for the state folder that is named next.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "try":
		err = doctor.Try(os.Stdout, os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "doctor":
		err = examine(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func examine(stateDir string) error {
	h, err := doctor.This(stateDir, "try")
	if err != nil {
		return err
	}
	return doctor.Run(os.Stdout, h)
}

// TestRecordedHosts runs doctor on recordings of machines: folders with their
// files below proc and sys, and the facts that no file holds. The golden file
// is what doctor writes, and the error after it.
func TestRecordedHosts(t *testing.T) {
	for _, host := range []string{
		"debian-12",           // healthy, as root
		"ubuntu-24.04",        // as an ordinary user, whom AppArmor restricts; an old Go
		"docker-forward-drop", // Docker's firewall rules
		"v1-only",             // control groups as before 2020
		"kernel-5.10",         // too old; no user namespaces for users
		"sandbox",             // a small arm64 board: root, but inside a sandbox, without almost everything
	} {
		t.Run(host, func(t *testing.T) {
			var out bytes.Buffer
			err := doctor.Run(&out, recorded(t, host))
			fmt.Fprintf(&out, "error: %v\n", err)
			golden.Assert(t, out.String(), host+".golden")
		})
	}
}

func TestEveryRequirementCanBeMissed(t *testing.T) {
	// On a host without any file and with no fact, nothing is as it should be:
	// a check that says ok there does not look.
	nothing := doctor.Host{Files: os.DirFS(t.TempDir())}
	fine := map[string]bool{
		"root":                 true, // uid 0
		"user ns, not as root": true, // the sysctls are there to forbid
		"AppArmor":             true,
		"forward policy":       true, // no rule is a good rule
	}
	for _, c := range doctor.Checks() {
		if state := c.Look(nothing).State; (state == doctor.OK) != fine[c.Name] {
			t.Errorf("%s: %s", c.Name, state)
		}
	}
	assert.ErrorContains(t, doctor.Run(&bytes.Buffer{}, nothing), "missing on this machine: machine, kernel, namespace mnt, ")
}

func TestThisMachineAsRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare")
	out, _ := run(t, nil, "/proc/self/exe", "doctor", t.TempDir())

	var name unix.Utsname
	assert.NilError(t, unix.Uname(&name))
	assert.Equal(t, line(t, out, "kernel"), "ok "+unix.ByteSliceToString(name.Release[:])+" (5.14 or newer)")
	assert.Equal(t, line(t, out, "root"), "ok uid 0")

	// util-linux's unshare is asked the same.
	for kind, option := range map[string]string{
		"mnt": "--mount", "pid": "--pid", "uts": "--uts", "ipc": "--ipc",
		"net": "--net", "cgroup": "--cgroup", "user": "--user", "time": "--time",
	} {
		works := exec.Command("unshare", option, "--fork", "true").Run() == nil
		assert.Equal(t, strings.HasPrefix(line(t, out, "namespace "+kind), "ok "), works, kind)
	}
	// This package's tests are only run where these work.
	for _, name := range []string{"overlay", "veth", "bridge", "nftables"} {
		assert.Equal(t, strings.Fields(line(t, out, name))[0], "ok")
	}
}

func TestThisMachineAsAnOrdinaryUser(t *testing.T) {
	testkit.HostUnchanged(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, _ := run(t, nobody, "/proc/self/exe", "doctor", t.TempDir())

	assert.Equal(t, line(t, out, "root"),
		"warn uid 65534: building, printed plans and tests without root work; containers do not wanted by stage 1 – run skiff with sudo")
	assert.Equal(t, line(t, out, "forward policy"), "skip an ordinary user may not see it")
	// What works in a user namespace is told apart from what needs root.
	works := exec.Command("unshare", "--user", "--map-root-user", "--net", "true")
	works.SysProcAttr = nobody
	want := "skip"
	if works.Run() == nil {
		want = "ok"
	}
	assert.Equal(t, strings.Fields(line(t, out, "veth"))[0], want)
	assert.Equal(t, strings.Fields(line(t, out, "namespace net"))[0], want)
}

// TestLimitOnNamespaces makes a real fault: inside a user namespace, which has
// limits of its own, there may be no network namespace any more.
func TestLimitOnNamespaces(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare")
	out, err := run(t, nil, "unshare", "--user", "--map-root-user", "sh", "-c",
		`echo 0 >/proc/sys/user/max_net_namespaces && exec "$0" doctor "$1"`, self(t), t.TempDir())
	assert.Equal(t, line(t, out, "namespace net"),
		"MISSING unshare: no space left on device needed by stage 2 – sysctl user.max_net_namespaces=15000")
	assert.Equal(t, line(t, out, "namespace pid"), "ok a child made one")
	assert.Assert(t, strings.HasPrefix(line(t, out, "nftables"), "MISSING the trial failed: "), out)
	assert.ErrorContains(t, err, "missing on this machine: namespace net")
}

// TestRootWithoutCapabilities makes another: root that may not do what root
// does, as in most containers.
func TestRootWithoutCapabilities(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "setpriv")
	out, err := run(t, nil, "setpriv", "--bounding-set=-sys_admin", self(t), "doctor", t.TempDir())
	for _, kind := range []string{"mnt", "pid", "uts", "ipc", "net", "cgroup"} {
		assert.Equal(t, line(t, out, "namespace "+kind), "MISSING unshare: operation not permitted needed by stage 2 – "+
			"a sandbox around this shell forbids it: run skiff on the host or in a virtual machine")
	}
	assert.ErrorContains(t, err, "namespace mnt")

	out, err = run(t, nil, "setpriv", "--bounding-set=-net_admin", self(t), "doctor", t.TempDir())
	assert.Equal(t, line(t, out, "namespace net"), "ok a child made one")
	assert.Equal(t, line(t, out, "bridge"), "MISSING create a bridge: operation not permitted needed by stage 6 – "+
		"a sandbox around this shell forbids it: run skiff on the host or in a virtual machine")
	for _, name := range []string{"veth", "nftables"} {
		assert.Assert(t, strings.HasPrefix(line(t, out, name), "MISSING "), name)
	}
	assert.ErrorContains(t, err, "veth, bridge, nftables")
}

// TestStateFolderOnAnOverlay makes the fault that is met when skiff runs
// inside a container: overlays cannot be written on top of an overlay.
func TestStateFolderOnAnOverlay(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare", "mount")
	out, err := run(t, nil, "unshare", "--mount", "sh", "-c", `cd "$1" && mkdir lower upper work merged &&
		mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged && exec "$0" doctor "$1/merged"`,
		self(t), t.TempDir())
	said := line(t, out, "overlay")
	assert.Assert(t, strings.HasPrefix(said, "MISSING ") && strings.Contains(said, "invalid argument"), said)
	assert.Assert(t, strings.Contains(said, "needed by stage 4 – an overlay cannot be written on every file system"), said)
	assert.ErrorContains(t, err, "missing on this machine: overlay")
}

// TestTrialsLeaveNothing lets the trials' folder be where it is on a host, and
// looks whether it has gone.
func TestTrialsLeaveNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	_, err := doctor.This(filepath.Join(dir, "not/there/yet"), "try")
	assert.NilError(t, err)
	left, err := os.ReadDir(dir)
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0)
}

func TestTrialThatThereIsNot(t *testing.T) {
	assert.Error(t, doctor.Try(&bytes.Buffer{}, "nonsense"), `no trial is called "nonsense"`)
}

// TestProgramThatDoesNotKnowTry: a program whose main never calls Try must not
// be taken for a success.
func TestProgramThatDoesNotKnowTry(t *testing.T) {
	testkit.HostUnchanged(t)
	h, err := doctor.This(t.TempDir(), "-test.list=^$", "-test.v=false")
	assert.NilError(t, err)
	assert.Equal(t, h.Trials["veth"], "the trial said nothing")
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	assert.NilError(t, err)
	defer full.Close()
	assert.ErrorIs(t, doctor.Run(full, recorded(t, "debian-12")), unix.ENOSPC)
}

// recorded returns the host whose files are in testdata.
func recorded(t *testing.T, name string) doctor.Host {
	t.Helper()
	dir := filepath.Join("testdata", name)
	data, err := os.ReadFile(filepath.Join(dir, "facts.json"))
	assert.NilError(t, err)
	h := doctor.Host{Files: os.DirFS(dir)}
	assert.NilError(t, json.Unmarshal(data, &h.Facts))
	return h
}

// run returns what a program writes, and what it complains of as the error.
func run(t *testing.T, attr *syscall.SysProcAttr, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = attr
	cmd.Dir = "/"
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if err != nil {
		err = errors.New(complaint.String())
	}
	t.Logf("%s%s", out, complaint.String())
	return string(out), err
}

// self returns the path of this test program.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	assert.NilError(t, err)
	return path
}

// line returns what doctor says of a requirement, with single spaces and
// without the name.
func line(t *testing.T, out, name string) string {
	t.Helper()
	for l := range strings.Lines(out) {
		state, rest, _ := strings.Cut(strings.Join(strings.Fields(l), " "), " ")
		if said, ok := strings.CutPrefix(rest, name+" "); ok {
			return state + " " + said
		}
	}
	t.Fatalf("no line about %q in:\n%s", name, out)
	return ""
}
