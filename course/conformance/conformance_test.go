package conformance_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"

	"skiff.example/course/conformance"
	"skiff.example/stage01-chroot/testkit"
)

// suite builds the suite, where it can be downloaded, or takes what is kept.
func suite(t *testing.T) *conformance.Suite {
	t.Helper()
	testkit.Need(t, "mount", "tar", "unshare") // its programs use them, or we do
	cache, err := os.UserCacheDir()
	assert.NilError(t, err)
	s, err := conformance.Build(t.Context(), filepath.Join(cache, "skiff"))
	if err != nil {
		testkit.Missing(t, err.Error())
	}
	return s
}

// patient is for programs that mostly wait.
var patient = conformance.Options{Jobs: 2 * runtime.NumCPU(), Timeout: time.Minute}

// outcomesOf runs all of the suite, where the machine has what it needs.
func outcomesOf(t *testing.T, program string) []conformance.Outcome {
	t.Helper()
	s := suite(t)
	assert.Equal(t, len(s.Programs), 58)
	outcomes, err := s.Run(t.Context(), program, patient)
	needGroups(t, err)
	assert.NilError(t, err)
	return outcomes
}

// needGroups skips a test on a machine that the suite was not written for.
func needGroups(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, conformance.ErrNoGroups) {
		testkit.Missing(t, err.Error())
	}
}

// TestSkiffOCI takes some 25 s: programs of the suite wait up to 10 s for what
// will not happen.
func TestSkiffOCI(t *testing.T) {
	testkit.HostUnchanged(t)
	outcomes := outcomesOf(t, testkit.Build(t, "skiff.example/final/cmd/skiff-oci"))
	problems, err := conformance.Compare(outcomes, false)
	assert.NilError(t, err)
	for _, p := range problems {
		t.Error(p)
	}
}

// TestARuntimeThatDoesNothingPassesNothing gives true as a runtime: what is
// then silent would be so whatever the runtime does.
func TestARuntimeThatDoesNothingPassesNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	var passed []string
	for _, o := range outcomesOf(t, "/bin/true") {
		if v := o.Verdict(); v == conformance.Passed || v == conformance.Silent {
			passed = append(passed, o.Program)
		}
	}
	// These ask for a failure, and take any: the list has the runtime's words.
	assert.Check(t, cmp.DeepEqual(passed, []string{"process_capabilities_fail", "process_rlimits_fail"}))
}

// TestNothingIsLeftOfAProgram runs one that leaves all it can: a frozen
// container, mounts, groups, processes.
func TestNothingIsLeftOfAProgram(t *testing.T) {
	testkit.HostUnchanged(t)
	name, err := os.Hostname()
	assert.NilError(t, err)
	dir := t.TempDir()
	script := `#!/bin/sh
mount -t tmpfs none /mnt
mkdir /sys/fs/cgroup/freezer/left /sys/fs/cgroup/memory/left /sys/fs/cgroup/memory/left/below
sleep 1000 &
echo $! > /sys/fs/cgroup/freezer/left/cgroup.procs
echo FROZEN > /sys/fs/cgroup/freezer/left/freezer.state
hostname elsewhere
chown 1 /dev/null
echo > /run/left
echo "ok 1 - $(cat /proc/self/cgroup | grep -c -v :/$) $(ls /run/tmp | wc -l) $$"
`
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "leaves"), []byte(script), 0o755))
	s := &conformance.Suite{Dir: dir, Programs: []string{"leaves"}}
	o := patient
	o.Timeout = 2 * time.Second
	outcomes, err := s.Run(t.Context(), "/bin/true", o)
	needGroups(t, err)
	assert.NilError(t, err)
	assert.Equal(t, outcomes[0].Death, "killed after 2s") // it cannot end while what it started is frozen
	assert.Equal(t, outcomes[0].Points[0].Text, "0 0 3")  // at the top of its groups, in an empty folder, process 3
	var null unix.Stat_t
	assert.NilError(t, unix.Stat("/dev/null", &null))
	assert.Equal(t, null.Uid, uint32(0))
	after, err := os.Hostname()
	assert.NilError(t, err)
	assert.Equal(t, after, name)
}

// TestCtrlC ends programs that run.
func TestCtrlC(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "waits"), []byte("#!/bin/sh\nsleep 1000"), 0o755))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begin := time.Now()
	_, err := (&conformance.Suite{Dir: dir, Programs: []string{"waits", "waits"}}).Run(ctx, "/bin/true", patient)
	needGroups(t, err)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Check(t, time.Since(begin) < 10*time.Second)
}

// run runs a program that has to succeed.
func run(t *testing.T, program string, args ...string) {
	t.Helper()
	testkit.Output(t, exec.Command(program, args...))
}

func TestAnOlderVersionIsAllThatChanges(t *testing.T) {
	dir, bundle := t.TempDir(), t.TempDir()
	program := filepath.Join(dir, "it's a runtime")
	assert.NilError(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\" >> \""+dir+"/args\""), 0o755))
	config := filepath.Join(bundle, "config.json")
	older, err := conformance.WithOlderVersion(program, t.TempDir())
	assert.NilError(t, err)
	for version, want := range map[string]string{`{"ociVersion": "1.3.0","a":1}`: `{"ociVersion":"1.0.2","a":1}`, `{"ociVersion":"invalid"}`: `{"ociVersion":"invalid"}`} {
		assert.NilError(t, os.WriteFile(config, []byte(version), 0o644))
		run(t, older, "create", "--bundle", bundle, "id")
		text, err := os.ReadFile(config)
		assert.NilError(t, err)
		assert.Equal(t, string(text), want)
	}
	run(t, older, "state", "id")
	args, err := os.ReadFile(dir + "/args")
	assert.NilError(t, err)
	create := "create --bundle " + bundle + " id\n"
	assert.Equal(t, string(args), strings.Repeat(create, 2)+"state id\n")
}
