package testkit_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// The probe in a root file system that holds nothing but the probe, with
// namespaces of its own: what it reports is the same everywhere.
func TestTheProbeSeesAContainerFromTheInside(t *testing.T) {
	testkit.HostUnchanged(t)
	root := emptyRoot(t)
	cmd := exec.Command("/probe", "process", "ids", "namespaces", "cwd", "root", "mounts", "network",
		"security", "descriptors", "environment", "arguments", "--", "with \"words\"")
	cmd.Env = []string{"GREETING=good\nday"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     root,
		Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{7, 8}},
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNET,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	testkit.Golden(t, string(out), "probe.golden")
}

func TestTheProbeReportsEverySectionOfThisHost(t *testing.T) {
	out, err := exec.Command(testkit.Probe(t)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, fact := range []string{
		"hostname ", "pid ", "uid ", "uid_map ", "namespace mnt mnt:[", "cwd /", "root d", "mount / ",
		"process 1 ", "cgroup 0::", "link lo ", "CapEff ", "NoNewPrivs ", "rlimit nofile ? ",
		"descriptor 0 ", "umask 0", "environment \"PATH=", "argument 0 ",
	} {
		if !strings.Contains("\n"+string(out), "\n"+fact) {
			t.Errorf("no line starts with %q", fact)
		}
	}
}

func TestTheProbeRefusesAnUnknownSection(t *testing.T) {
	out, err := exec.Command(testkit.Probe(t), "hostname", "weather").CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("ended with %v, want exit status 2", err)
	}
	testkit.Golden(t, string(out), "probe-usage.golden")
}

// emptyRoot is a folder with the probe in it, and nothing else.
func emptyRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // others must come in too
		t.Fatal(err)
	}
	program, err := os.ReadFile(testkit.Probe(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "probe"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}
