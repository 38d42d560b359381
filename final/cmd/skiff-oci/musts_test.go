package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// Points of the checklist of what OCI runtimes get wrong, each as a test with the
// point's number, and as a container feels it. Life cycle and hooks (1 to 13), seccomp
// (17, 32), exec (21) and features (33) have test files of their own; what every limit
// becomes is stage 3's.

// lines makes a configuration run these lines.
func lines(all ...string) func(*specs.Spec) { return program("sh", "-c", strings.Join(all, "\n")) }

// says runs the bundle and compares what the container prints.
func (b *bundle) says(want string) {
	b.Helper()
	if got := b.succeed("run", "--bundle", b.dir, b.id); got != want {
		b.Errorf("the container says\n%swant\n%s", got, want)
	}
}

// refuses asserts that create says no, with these words, and leaves nothing.
func (b *bundle) refuses(words ...string) {
	b.Helper()
	r := b.do("create", "--bundle", b.dir, b.id)
	for _, w := range words {
		if r.status != 1 || !strings.Contains(r.err, w) {
			b.Errorf("create: status %d, no %q in %s", r.status, w, r.err)
		}
	}
	b.wantNothing()
}

func TestMust14WhereAndWhatTheProgramIs(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("look"), func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		s.Process.Cwd = "/secret"
		s.Process.Env = []string{"PATH=/nowhere:/opt:/bin"}
	})
	b.must(os.MkdirAll(b.path("opt"), 0o755))
	b.must(os.WriteFile(b.path("opt/look"), []byte("#!/bin/sh\nbusybox pwd; busybox ls ..\n"), 0o755))
	b.must(os.Mkdir(b.path("secret"), 0o700)) // root's: it is entered before the change of user
	r := b.do("run", "--bundle", b.dir, b.id)
	if r.status == 0 || !strings.HasPrefix(r.out, "/secret\n") {
		t.Errorf("status %d, said %s%s", r.status, r.out, r.err)
	}
	b.edit(func(s *specs.Spec) { s.Process.Args, s.Process.Cwd = []string{"busybox", "pwd"}, "/srv/new/place" })
	b.says("/srv/new/place\n") // made, as runc does
	b.edit(func(s *specs.Spec) { s.Process.Args = []string{""} })
	b.refuses(`find "": no such file or directory`)
	b.edit(func(s *specs.Spec) { s.Process.Args = []string{"/secret"} })
	b.refuses(`execute "/secret": permission denied: is a directory`)
	b.edit(func(s *specs.Spec) { s.Process.Args = []string{"nothere"} })
	b.refuses(`find "nothere": no such file or directory`, "no directory of PATH has it: /nowhere:/opt:/bin")
	b.edit(func(s *specs.Spec) { s.Process.Args, s.Process.Cwd = []string{"sh"}, "/proc/self/fd/3" })
	b.refuses(`change directory to "/proc/self/fd/3": `)
}

func TestMust15HomeAndUmask(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, lines("echo $HOME; umask; busybox stat -c %a /dev/null"), func(s *specs.Spec) {
		s.Process.User.UID = 33
		s.Process.Env = append(s.Process.Env, "HOME=")
	})
	defer unix.Umask(unix.Umask(0o077)) // of who calls skiff-oci: it must not matter
	b.must(os.MkdirAll(b.path("etc"), 0o755))
	b.must(os.Chmod(b.path("etc"), 0o755))
	b.must(os.WriteFile(b.path("etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv/www:/bin/sh\n"), 0o644))
	b.says("/srv/www\n0022\n666\n")
	mask := uint32(0o27)
	b.edit(func(s *specs.Spec) { s.Process.User.UID, s.Process.User.Umask = 77, &mask })
	b.says("/\n0027\n666\n")
	b.edit(func(s *specs.Spec) { s.Process.Env = []string{"PATH=/bin", "HOME=/here"} })
	b.says("/here\n0027\n666\n")
}

func TestMust16ACapabilityThatCannotBeIsAWarning(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("busybox", "grep", "^Cap", "/proc/self/status"), func(s *specs.Spec) {
		kill := []string{"CAP_KILL", "CAP_LUCK"}
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: kill, Permitted: kill, Effective: kill, Ambient: kill}
	})
	r := b.do("run", "--bundle", b.dir, b.id)
	// Ambient wants inheritable, and nothing becomes that by itself (CVE-2022-29162).
	const want = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\nCapBnd:\t0000000000000020\nCapAmb:\t0000000000000000\n"
	if r.status != 0 || r.out != want || !strings.Contains(r.err, "warning: capability CAP_LUCK is not known") {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.err)
	}
}

func TestMust18LimitsAndOomScore(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, lines("cat /proc/self/oom_score_adj"), func(s *specs.Spec) { s.Process.OOMScoreAdj = nil })
	run := func(want string) {
		t.Helper()
		cmd := b.command("run", "--bundle", b.dir, b.id)
		// A shell is worth less to the kernel, and so is what it becomes.
		cmd = exec.Command("sh", append([]string{"-c", `echo 300 > /proc/self/oom_score_adj; exec "$@"`, "sh"}, cmd.Args...)...)
		if r := b.finish(cmd); r.out != want || r.status != 0 {
			t.Errorf("got %q, want %q\n%s", r.out, want, r.err)
		}
	}
	run("300\n") // unset: as it was
	zero := 0
	b.edit(func(s *specs.Spec) { s.Process.OOMScoreAdj = &zero })
	run("0\n") // a value like any other
	b.edit(func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Hard: 1}, {Type: "RLIMIT_CORE", Hard: 1}}
	})
	b.refuses(`rlimit "RLIMIT_CORE" is set twice`)
	b.edit(func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_LUCK"}} })
	b.refuses(`rlimit "RLIMIT_LUCK": no such resource`)
}

// Where the process has a user namespace it cannot raise a limit itself. Nor can this
// machine's root, perhaps: then it is told which limit there is.
func TestMust18LimitsAreRaisedFromOutside(t *testing.T) {
	testkit.HostUnchanged(t)
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MSGQUEUE, &now); err != nil {
		t.Fatal(err)
	}
	more := now.Max + 1
	b := newBundle(t, lines("busybox grep msgqueue /proc/self/limits"), ownUsers, func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_MSGQUEUE", Soft: 5, Hard: more}}
	})
	b.reachable()
	r := b.do("run", "--bundle", b.dir, b.id)
	raised := r.status == 0 && strings.Fields(r.out)[3] == "5"
	refused := strings.Contains(r.err, "set the hard limit of RLIMIT_MSGQUEUE") && strings.Contains(r.err, "hint: cannot raise RLIMIT_MSGQUEUE to")
	if !raised && !refused {
		t.Errorf("status %d: %s%s", r.status, r.out, r.err)
	}
	b.wantNothing()
}

func TestMust19ASizeWithoutATerminalIsIgnored(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("echo", "fine"), func(s *specs.Spec) { s.Process.ConsoleSize = &specs.Box{Height: 7, Width: 9} })
	b.says("fine\n")
}

func TestMust20GroupsAndDescriptors(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, lines("busybox id -G; busybox ls /proc/self/fd"), func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 33, GID: 44, AdditionalGids: []uint32{60}}
	})
	cmd := b.command("run", "--bundle", b.dir, b.id)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{4, 27}}} // the caller's
	null, err := os.Open(os.DevNull)
	b.must(err)
	defer null.Close()
	cmd.ExtraFiles = []*os.File{null, null}
	if r := b.finish(cmd); r.out != "44 60\n0\n1\n2\n3\n" { // 3 is ls's own
		t.Errorf("got %s%s", r.out, r.err)
	}
}

func TestMust22NamespacesThatCannotBe(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, c := range []struct {
		want   string
		change func(*specs.Spec)
	}{
		{`namespace "network" is named twice`, func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
		}},
		{"it is a namespace of another kind (uts)", func(s *specs.Spec) {
			for i := range s.Linux.Namespaces {
				if s.Linux.Namespaces[i].Type == specs.IPCNamespace {
					s.Linux.Namespaces[i].Path = "/proc/self/ns/uts"
				}
			}
		}},
	} {
		b := newBundle(t, program("true"), c.change)
		b.refuses(c.want)
	}
}

func TestMust25ATmpfsHasTheModeOfItsPlace(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("busybox", "stat", "-c", "%a", "/as-it-was", "/as-it-says"), func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/as-it-was", Type: "tmpfs"},
			specs.Mount{Destination: "/as-it-says", Type: "tmpfs", Options: []string{"mode=0701"}})
	})
	for _, name := range []string{"as-it-was", "as-it-says"} {
		b.must(os.Mkdir(b.path(name), 0o711))
		b.must(os.Chmod(b.path(name), 0o711))
	}
	b.says("711\n701\n")
}

func TestMust26ThePropagationOfTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	for word, want := range map[string]string{"shared": "shared:", "slave": "master:", "private": "- ", "unbindable": "unbindable "} {
		b := newBundle(t, program("busybox", "awk", `$5 == "/"`, "/proc/self/mountinfo"), func(s *specs.Spec) { s.Linux.RootfsPropagation = word })
		line := b.succeed("run", "--bundle", b.dir, b.id)
		// Fields 7 and on, up to the dash: proc(5).
		if fields := strings.Fields(line); len(fields) < 7 || !strings.HasPrefix(fields[6]+" ", want) && word != "slave" {
			t.Errorf("%s: %s", word, line)
		}
	}
}

func TestMust27Devices(t *testing.T) {
	testkit.HostUnchanged(t)
	mode := os.FileMode(0o660) // config.json has it in decimal: 432
	group := uint32(44)
	b := newBundle(t, lines(
		"for d in null zero full random urandom tty mine; do busybox stat -c '%n %a %u:%g %t:%T' /dev/$d; done",
		"for l in ptmx fd stdin stdout stderr; do busybox readlink /dev/$l; done",
	), func(s *specs.Spec) {
		s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/mine", Type: "c", Major: 1, Minor: 7, FileMode: &mode, GID: &group}}
	})
	b.says("/dev/null 666 0:0 1:3\n/dev/zero 666 0:0 1:5\n/dev/full 666 0:0 1:7\n/dev/random 666 0:0 1:8\n/dev/urandom 666 0:0 1:9\n" +
		"/dev/tty 666 0:0 5:0\n/dev/mine 660 0:44 1:7\npts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n")
	b.edit(lines("for d in '10 200' '10 201'; do busybox mknod /dev/x c $d; (: < /dev/x) 2>&1 | busybox grep -o 'ermitted\\|such.*'; busybox rm /dev/x; done"), func(s *specs.Spec) {
		s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_MKNOD")
		s.Process.Capabilities.Permitted, s.Process.Capabilities.Effective = s.Process.Capabilities.Bounding, s.Process.Capabilities.Bounding
	})
	b.says("ermitted\n") // the host's /dev/net/tun may be opened, its neighbour not
	host := t.TempDir()
	b.edit(lines("busybox ls -A /dev"), func(s *specs.Spec) {
		s.Linux.Devices = nil
		s.Mounts = []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}, {Destination: "/dev", Type: "bind", Source: host, Options: []string{"bind"}}}
	})
	b.says("") // a /dev of the host's is not changed
	b.edit(func(s *specs.Spec) { s.Mounts = s.Mounts[:1] })
	b.must(os.MkdirAll(b.path("dev"), 0o755))
	b.must(os.WriteFile(b.path("dev/null"), nil, 0o666))
	b.refuses(`device "/dev/null": file exists`)
}

func TestMust28MaskedAndReadOnlyPaths(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, lines(
		"busybox stat -c %F /hidden/file /hidden/folder; busybox ls /hidden/folder; cat /hidden/file",
		"echo x > /hidden/folder/new || echo refused; echo x > /fixed/file || echo refused; cat /fixed/file",
	), func(s *specs.Spec) {
		s.Root.Readonly = false
		s.Linux.MaskedPaths = []string{"/hidden/file", "/hidden/folder", "/not/there"}
		s.Linux.ReadonlyPaths = []string{"/fixed", "/not/there"}
	})
	for _, name := range []string{"hidden/file", "hidden/folder/file", "fixed/file"} {
		b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
		b.must(os.WriteFile(b.path(name), []byte("secret\n"), 0o644))
	}
	r := b.do("run", "--bundle", b.dir, b.id)
	if want := "character special file\ndirectory\nrefused\nrefused\nsecret\n"; r.out != want {
		t.Errorf("got %s\n%s", r.out, r.err)
	}
}

func TestMust29AnAbsoluteCgroupsPathIsBelowTheMount(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, lines("busybox grep -v ':name=' /proc/self/cgroup"), func(s *specs.Spec) {
		s.Linux.CgroupsPath = "/skiff-musts/29"
		for i := range s.Linux.Namespaces { // see the whole path
			if s.Linux.Namespaces[i].Type == specs.CgroupNamespace {
				s.Linux.Namespaces = append(s.Linux.Namespaces[:i], s.Linux.Namespaces[i+1:]...)
				break
			}
		}
	})
	for range 2 { // and the same each time
		for line := range strings.Lines(b.succeed("run", "--bundle", b.dir, b.id)) {
			if !strings.HasSuffix(line, ":/skiff-musts/29\n") && !strings.HasSuffix(line, ":/\n") { // a hierarchy that is not mounted
				t.Errorf("it is in %s", line)
			}
		}
	}
}

// A limit of no processes is a limit, and -1 is none; shares are those of version 1 or
// become a weight by the formula under which ordinary stays ordinary.
func TestMust30LimitsMeanWhatTheySay(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	shares := uint64(1024)
	for limit, want := range map[int64]string{0: "0", -1: "max", 7: "7"} {
		b := newBundle(t, program("true"), func(s *specs.Spec) {
			s.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}, CPU: &specs.LinuxCPU{Shares: &shares}}
		})
		b.succeed("create", "--bundle", b.dir, b.id)
		group := groupsOf(b)
		if got := b.read(group["pids"] + "/pids.max"); got != want+"\n" {
			t.Errorf("pids.limit %d: pids.max is %q", limit, got)
		}
		file, weight := "cpu.shares", "1024\n"
		if _, err := os.Stat(group["cpu"] + "/cpu.weight"); err == nil {
			file, weight = "cpu.weight", "100\n"
		}
		if got := b.read(group["cpu"] + "/" + file); got != weight {
			t.Errorf("1024 shares: %s is %q", file, got)
		}
		b.succeed("delete", "--force", b.id)
	}
}

// A key of unified is a file of version 2: its controller is enabled for it, and one
// that is missing is an error, not a limit that nobody keeps.
func TestMust31UnifiedIsWrittenOrRefused(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("true"), func(s *specs.Spec) {
		s.Linux.Resources = &specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": "3"}}
	})
	b.succeed("create", "--bundle", b.dir, b.id)
	if got := b.read(groupsOf(b)[""] + "/cgroup.max.depth"); got != "3\n" {
		t.Errorf("cgroup.max.depth is %q", got)
	}
	b.succeed("delete", "--force", b.id)
	b.edit(func(s *specs.Spec) { s.Linux.Resources.Unified = map[string]string{"flux.max": "3"} })
	b.refuses("flux")
}

// groupsOf are the directories of a container's groups: controller → directory, ""
// for version 2; what has no hierarchy of its own is there.
func groupsOf(b *bundle) map[string]string {
	b.Helper()
	var state struct{ CgroupPaths map[string]string }
	b.must(json.Unmarshal([]byte(b.read(filepath.Join(b.state, b.id, "state.json"))), &state))
	for _, controller := range []string{"pids", "cpu"} {
		if state.CgroupPaths[controller] == "" {
			state.CgroupPaths[controller] = state.CgroupPaths[""]
		}
	}
	return state.CgroupPaths
}

func TestMust33SysctlsOfItsOwnNamespaces(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("cat", "/proc/sys/net/ipv4/ip_default_ttl", "/proc/sys/kernel/msgmax"), func(s *specs.Spec) {
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4096"}
	})
	b.says("77\n4096\n")
	b.edit(func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"vm.swappiness": "1"} })
	b.refuses(`"vm.swappiness" belongs to the host`)
}

func TestMust34EachAttributeIsGivenOrRefused(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, lines("busybox ionice -p $$; busybox uname -m",
		"busybox cut -d' ' -f2 /proc/self/numa_maps | busybox head -1; busybox cut -d' ' -f19,41 /proc/self/stat"), func(s *specs.Spec) {
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7}
		s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0"}
	})
	r := b.do("run", "--bundle", b.dir, b.id)
	for _, want := range []string{"best-effort: prio 6", "interleave:0", "\n7 3\n"} { // nice, and the number of SCHED_BATCH
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s%s", want, r.out, r.err)
		}
	}
	if strings.Contains(r.out, "x86_64") {
		t.Errorf("the personality is that of 64 bits:\n%s", r.out)
	}
	b.edit(func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "nothere"} })
	b.refuses("linux.intelRdt: ") // without resctrl, or without that group
}

// A device of the host moves in. The host is a network namespace of this test's own.
func TestMust34NetDevices(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare", "ip")
	b := newBundle(t, program("busybox", "ip", "addr", "show", "dev", "eth7"), func(s *specs.Spec) {
		s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"moving": {Name: "eth7"}}
	})
	run := b.command("run", "--bundle", b.dir, b.id)
	const inNewNetwork = `ip link add moving type veth peer name staying
ip link set staying up
ip addr add 192.0.2.7/24 dev moving
"$@" || exit
ip link show dev staying 2>&1`
	r := b.finish(exec.Command("unshare", append([]string{"-n", "sh", "-c", inNewNetwork, "sh"}, run.Args...)...))
	if !strings.Contains(r.out, "inet 192.0.2.7/24") || !strings.Contains(r.out, ",UP") {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.err)
	}
	b.refuses(`move network device "moving" into the container: `, "linux.netDevices names devices of the host") // here is none
}

// The session keyring is the container's own: that of who calls may hold keys.
func TestTheSessionKeyringIsTheContainersOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("busybox", "grep", "-c", "_ses.one:", "/proc/keys"), func(s *specs.Spec) { s.Linux.MaskedPaths = nil })
	b.id = "one"
	b.says("1\n")
	b.edit(program("busybox", "grep", "-c", "_ses.two:", "/proc/keys"))
	if r := b.do("run", "--no-new-keyring", "--bundle", b.dir, "two"); r.out != "0\n" {
		t.Errorf("--no-new-keyring: %s%s", r.out, r.err)
	}
}
