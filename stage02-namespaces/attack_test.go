package main_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/testkit"
)

// The attacks: first as they work without this chapter, then against it.

// Every way out of a root that chroot(2) has made, with everything that one of
// them needs: the capability, a directory of the host left open, and a process 1.
func TestNoWayOut(t *testing.T) {
	testkit.HostUnchanged(t)
	root := probeRoot(t)
	output(t, exec.Command("cp", testkit.Build(t, "."), root+"/stage02"))
	outside, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	for _, way := range escape.Ways {
		for _, flags := range [][]string{nil, {"--new", "user"}} {
			args := append(append([]string{"run"}, flags...), root, "/stage02", "escape", "--by", way.Name)
			cmd := stage02(t, append(args, root+"/probe", "cwd")...) // a path of the host
			cmd.ExtraFiles = []*os.File{outside}
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Errorf("%s %v: it is out, and says %s", way.Name, flags, out)
			}
		}
	}
	// The first of them does change the root: to the top of the container's own.
	got := output(t, stage02(t, "run", root, "/stage02", "escape", "/probe", "cwd"))
	if got != "cwd /\n" {
		t.Errorf("got %q, want the probe of the container, in its own /", got)
	}
}

// The container's process has the descriptors that it was given and no others,
// however many its parent holds (CVE-2024-21626).
func TestDescriptorsDoNotLeak(t *testing.T) {
	testkit.HostUnchanged(t)
	outside, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	cmd := stage02(t, "run", probeRoot(t), "/probe", "descriptors")
	for range 62 { // numbers 3 to 64
		cmd.ExtraFiles = append(cmd.ExtraFiles, outside)
	}
	for line := range strings.Lines(output(t, cmd)) {
		var number int
		if _, err := fmt.Sscanf(line, "descriptor %d ", &number); err != nil || number > 2 {
			t.Errorf("it has %s", line)
		}
	}
}

// A process of the host has no number inside, so nothing can be sent to it.
func TestTheHostsProcessesAreOutOfReach(t *testing.T) {
	testkit.HostUnchanged(t)
	victim := exec.Command("sleep", "60")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = victim.Process.Kill()
		_ = victim.Wait()
	}()
	kill := fmt.Sprintf("kill -KILL %d", victim.Process.Pid)
	if out, err := stage02(t, "run", shellRoot(t), "sh", "-c", kill).CombinedOutput(); err == nil {
		t.Errorf("it was sent: %s", out)
	}
	if err := victim.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the host's process is gone: %v", err)
	}
}

// What is mounted inside does not appear outside, also where mounts are shared,
// as systemd makes them. The outer namespace plays such a host: with the leak,
// when its copy is left as it was, and without.
func TestMountsDoNotLeak(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare", "mount", "grep")
	program := testkit.Build(t, ".")
	for inner, want := range map[string]string{
		"unshare --mount --propagation unchanged": "1\n",
		program + " new mnt":                      "0\n",
	} {
		line := fmt.Sprintf("mount --make-rshared / && %s mount -t tmpfs leak /mnt && grep -c ^leak /proc/mounts; true", inner)
		if got := output(t, stage02(t, "new", "mnt", "sh", "-c", line)); got != want {
			t.Errorf("%s: outside there are %s, want %s", inner, got, want)
		}
	}
}

// Process 1 of --init is our own program. Nobody inside can write to it, nor
// does it keep anything open (CVE-2019-5736).
func TestOurOwnProgramIsOutOfReach(t *testing.T) {
	testkit.HostUnchanged(t)
	before := hashOf(t, testkit.Build(t, "."))
	root := shellRoot(t)
	out, err := stage02(t, "run", "--init", root, "sh", "-c", "echo overwritten > /proc/1/exe").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Read-only file system") {
		t.Errorf("got %v: %s", err, out)
	}
	if hashOf(t, testkit.Build(t, ".")) != before {
		t.Error("the program is another one now")
	}
}

func hashOf(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(text)
}

// Who joins a pid namespace cannot be looked into by those who are in it: they
// would find the descriptors that it still holds (CVE-2016-9962). So it hides
// before it joins.
func TestWhoJoinsIsNotToBeLookedInto(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := started(t, shellRoot(t))
	plan := output(t, stage02(t, "plan", "--join", "pid="+childOf(t, cmd.Process.Pid), "/srv/root", "/bin/sh"))
	joined, hidden := strings.Index(plan, "setns("), strings.Index(plan, "prctl(PR_SET_DUMPABLE")
	if joined < 0 || hidden < 0 || hidden > joined {
		t.Errorf("it is hidden at %d and joins at %d:\n%s", hidden, joined, plan)
	}
	end(t, cmd.Process)
	if err := cmd.Wait(); err == nil {
		t.Error("it succeeded")
	}
}

// A root in a mount namespace that others are in would become theirs as well. The
// outer namespace is there in case it does.
func TestNobodyElsesRootIsReplaced(t *testing.T) {
	testkit.HostUnchanged(t)
	root, program := shellRoot(t), testkit.Build(t, ".")
	for _, namespace := range []string{"self", fmt.Sprint(os.Getpid())} {
		line := fmt.Sprintf("%s run --join mnt=/proc/%s/ns/mnt %s sh -c true; test -e /etc/passwd || echo replaced", program, namespace, root)
		got := output(t, stage02(t, "new", "mnt", "sh", "-c", line))
		if !strings.HasPrefix(got, "stage02: a container with a root needs a new mount namespace") || strings.Contains(got, "replaced") {
			t.Errorf("%s: %s", namespace, got)
		}
	}
}

// A container in a container: its root is root only in there, and may not make
// devices; so it is shown those that it has.
func TestAContainerInAContainer(t *testing.T) {
	testkit.HostUnchanged(t)
	inner := shellRoot(t)
	for _, flags := range [][]string{nil, {"--new", "user"}} {
		line := fmt.Sprintf("mount -t proc proc /proc && exec %s run %s %s sh -c 'echo x > /dev/null && echo $$'",
			testkit.Build(t, "."), strings.Join(flags, " "), inner)
		got := output(t, stage02(t, "new", "user,mnt,pid,net,ipc,uts", "sh", "-c", line))
		if got != "1\n" {
			t.Errorf("%v: got %q", flags, got)
		}
	}
}
