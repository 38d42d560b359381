package main_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// Attacks on a process that enters a container in which the attacker already is.

// CVE-2019-5736: a container's program is /proc/self/exe, so that exec would run our
// own binary inside. An attacker in there keeps open what /proc/PID/exe of others leads
// to, and writes to it again and again.
func TestOurBinaryCannotBeOverwrittenThroughAnExec(t *testing.T) {
	b := sleeping(t, func(s *specs.Spec) {
		all := []string{"CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"}
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	})
	defer b.end()
	ours := b.command().Path
	before := sha256.Sum256([]byte(b.read(ours)))
	log := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(log)
	b.must(err)
	defer out.Close()
	attacker := b.command("exec", "--detach", b.id, "sh", "-c", `echo begins
		while :; do for p in /proc/[0-9]*; do
			exe=$(busybox readlink $p/exe) && case $exe in */busybox) ;; *) exec 9<$p/exe && echo holds $exe;; esac
			echo evil 2>&1 >/proc/self/fd/9
		done; done`)
	attacker.Stdout = out
	b.must(attacker.Run())
	b.eventually("the attacker is at work", func() bool { return strings.Contains(b.read(log), "begins") })
	for range 50 {
		r := b.do("exec", b.id, "/proc/self/exe", "update", "--resources", "-", "box")
		if r.status != 255 || !strings.Contains(r.err, `execute "/proc/self/exe": exec format error`) {
			t.Fatalf("it ran: status %d, %s", r.status, r.err)
		}
	}
	for line := range strings.Lines(b.read(log)) {
		if strings.HasPrefix(line, "holds ") && !strings.HasPrefix(line, "holds /memfd:") {
			t.Errorf("the attacker %s", line)
		}
	}
	if after := sha256.Sum256([]byte(b.read(ours))); after != before {
		t.Error("our binary was overwritten")
	}
}

// As an ordinary user nobody mounts; then it is a sealed copy that runs.
func TestOurBinaryIsASealedCopyWhereNobodyMayMount(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, "setpriv")
	b := sleeping(t)
	defer b.end()
	// Without CAP_SYS_ADMIN exec fails, after it has started itself again.
	trace := filepath.Join(t.TempDir(), "trace")
	inside := b.command("exec", b.id, "true")
	cmd := exec.Command("strace", append([]string{
		"-f", "-o", trace, "-e", "trace=memfd_create,fcntl,execve", "setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-all",
	}, inside.Args...)...)
	_ = cmd.Run()
	text := b.read(trace)
	if !strings.Contains(text, "F_SEAL_WRITE") || strings.Count(text, "execve(\"/proc/self/fd/") != 1 {
		t.Errorf("no sealed copy was started, or more than one:\n%s", text)
	}
}

// CVE-2024-21626: a working directory that is a descriptor which the runtime has left
// open on the host.
func TestExecDoesNotStartInADirectoryOfTheHost(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	for n := 3; n <= 64; n++ {
		for _, dir := range []string{"/proc/self/fd/%d", "/proc/self/fd/%d/../../.."} {
			r := b.do("exec", "--cwd", fmt.Sprintf(dir, n), b.id, "busybox", "pwd")
			if r.status != 255 || r.out != "" {
				t.Errorf("in descriptor %d: status %d, %s", n, r.status, r.out)
			}
		}
	}
}

// CVE-2016-9962: who is in the container looks at what the entering process has open
// before its program runs.
func TestAnEnteringProcessCannotBeLookedInto(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	log := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(log)
	b.must(err)
	defer out.Close()
	spy := b.command("exec", "--detach", b.id, "sh", "-c", `echo begins
		while :; do for p in /proc/[0-9]*; do
			case $p in /proc/1|/proc/$$) ;; *) for f in $p/fd/*; do link=$(busybox readlink $f) && echo sees $link; done;; esac
		done; done`)
	spy.Stdout = out
	b.must(spy.Run())
	b.eventually("the spy is at work", func() bool { return strings.Contains(b.read(log), "begins") })
	for range 30 {
		b.must(b.command("exec", b.id, "true").Run()) // whose descriptors 0-2 are /dev/null
	}
	for line := range strings.Lines(b.read(log)) {
		// The spy's own helpers have its log and a pipe open.
		if line != "begins\n" && line != "sees /dev/null\n" && !strings.HasPrefix(line, "sees pipe:") && line != "sees "+log+"\n" {
			t.Errorf("the spy %s", line)
		}
	}
}

// A process that is told to run a program of another name in place of the runtime's
// environment gets nothing of it.
func TestExecHasNothingOfTheCallersEnvironment(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	cmd := b.command("exec", b.id, "busybox", "env")
	cmd.Env = append(os.Environ(), "SECRET=1", "LD_PRELOAD=/x", "LISTEN_FDS=3")
	if r := b.finish(cmd); strings.Contains(r.out, "SECRET") || strings.Contains(r.out, "LD_PRELOAD") || strings.Contains(r.out, "LISTEN_FDS") {
		t.Errorf("it has %s", r.out)
	}
}

// CVE-2022-24769, CVE-2022-27649 to 27652, CVE-2025-27612: a capability that exec adds
// is not inheritable, and so is not that of every program with file capabilities.
func TestCapabilitiesThatExecAddsAreNotInherited(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	const admin = 1 << unix.CAP_NET_ADMIN
	out := b.succeed("exec", "--cap", "CAP_NET_ADMIN", b.id, "busybox", "grep", "^Cap", "/proc/self/status")
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		set, err := strconv.ParseUint(value, 16, 64)
		b.must(err)
		given := name != "CapInh" && name != "CapAmb"
		if has := set&admin != 0; has != given || !given && set != 0 {
			t.Errorf("%s is %#x", name, set)
		}
	}
}

// CVE-2026-30892, CVE-2024-40635: each form of a user is the one that it says or is
// refused, and none of them is root but 0.
func TestEveryFormOfAUser(t *testing.T) {
	b := sleeping(t, func(s *specs.Spec) { s.Process.User = specs.User{UID: 7, GID: 8} })
	defer b.end()
	for form, want := range map[string]string{
		"1": "1 8", "1:2": "1 2", "0": "0 8", "0:0": "0 0", "5:0": "5 0", "01": "1 8", "2147483647": "2147483647 8", "1:2147483647": "1 2147483647",
		"": "", ":": "", ":1": "", "1:": "", "-1": "", "1:-1": "", "+1": "", " 1": "", "1 ": "", "0x1": "", "1.0": "", "1:2:3": "", "root": "", "1:root": "",
		"2147483648": "", "4294967295": "", "4294967296": "", "18446744073709551616": "", "1:4294967296": "", "１": "",
	} {
		r := b.do("exec", "--user", form, b.id, "sh", "-c", "echo $(busybox id -u) $(busybox id -g)")
		switch {
		case want == "" && (r.status != 255 || r.out != ""):
			t.Errorf("user %q: status %d, ran as %q", form, r.status, r.out)
		case want != "" && r.out != want+"\n":
			t.Errorf("user %q ran as %q, want %q\n%s", form, r.out, want, r.err)
		}
	}
}
