package main_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// The tests of chapter 3 run the program as a reader would, and look at what
// it prints, at the groups that it makes, and at what it leaves.

// stage03 is the program with these arguments, not started yet. Its journals
// are in a folder of the test.
func stage03(t *testing.T, state string, args ...string) *exec.Cmd {
	t.Helper()
	return testkit.Command(t, append([]string{"--state", state}, args...)...)
}

// stateDir is where a test's containers keep their journals. In the end nothing
// may be there.
func stateDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	t.Cleanup(func() {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder of journals is there (error %v)", err)
		}
	})
	return dir
}

// output runs cmd, which must succeed, and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	return testkit.Output(t, cmd)
}

// refused runs cmd, which must fail, and returns what it prints.
func refused(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("%s: succeeded\n%s", strings.Join(cmd.Args[1:], " "), out)
	}
	return string(out)
}

// newRoot is a root file system with a shell, sleep and /probe.
func newRoot(t *testing.T) string {
	t.Helper()
	closure, err := rootfs.FromPrograms("sh", "sleep")
	if err != nil {
		t.Fatal(err)
	}
	closure.Add(rootfs.File{Name: "probe", Mode: 0o755, Source: testkit.Probe(t), Why: "the test"})
	root := filepath.Join(t.TempDir(), "root")
	if err := closure.Write(root); err != nil {
		t.Fatal(err)
	}
	return root
}

// groupOf is the group of the container called name below state, which is never the
// usual folder.
func groupOf(t *testing.T, state, name string) *cgroup.Manager {
	t.Helper()
	hierarchies, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	hash := fnv.New32a()
	hash.Write([]byte(state))
	group, err := hierarchies.New(fmt.Sprintf("/skiff-stage03.%08x-%s", hash.Sum32(), name))
	if err != nil {
		t.Fatal(err)
	}
	return group
}

// await polls until what is true, at most a minute: an emulated machine is slow.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after a minute", what)
		}
	}
}

// sleeping starts `run` with sleep in it, and waits until that sleeps.
func sleeping(t *testing.T, cmd *exec.Cmd, state, name string) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := groupOf(t, state, name)
	await(t, "a container that sleeps", func() bool {
		pids, err := group.Processes()
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			if programOf(pid) == "sleep" {
				return true
			}
		}
		return false
	})
}
