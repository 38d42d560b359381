package launch_test

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
)

// The plan of a whole container, as an engine would make it: it is what the
// tests run under strace, break at every step, and measure.

// fullNamespaces are those that the container is born with.
const fullNamespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET

// fullMounts are the mounts of `runc spec`, without the cgroup tree.
var fullMounts = []specs.Mount{
	{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
	{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
	{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
	{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	{Destination: "/etc/hosts", Type: "bind", Source: "/etc/hosts", Options: []string{"rbind", "rprivate", "ro"}},
}

// fullRoot makes a root file system that holds our probe and nothing else.
func fullRoot(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	program, err := os.ReadFile(testkit.Probe(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "probe"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// fullPlan is the plan of a container in root that waits at gate and then
// runs the probe, which writes what it sees of these sections to out.
func fullPlan(t testing.TB, root string, gate *launch.Gate, out *os.File, sections ...string) *plan.Plan {
	t.Helper()
	p := &plan.Plan{}
	p.Section(2, "wait for the parent")
	p.Add(gate.Steps()...)
	p.Section(2, "a session and a network of its own")
	p.Add(plan.Dup3(plan.Descriptor{Number: int(out.Fd()), Name: "output"}, 1), plan.Setsid())
	p.Add(plan.LoopbackUp(p)...)
	mount.Detach(p, unix.MS_PRIVATE)
	r := mount.NewRoot(p, root)
	p.Add(plan.Umask(0))
	for _, m := range fullMounts {
		if err := r.Mount(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Devices(mount.DefaultDevices()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/proc/sys", "/proc/irq", "/proc/no-such-file"} {
		r.ReadOnlyPath(path)
	}
	for _, path := range []string{"/proc/cmdline", "/sys/firmware", "/proc/no-such-file"} {
		r.Mask(path)
	}
	r.ReadOnly()
	r.Pivot()
	p.Section(2, "the process")
	p.Add(plan.Sethostname("box"), plan.Setdomainname("local"), plan.Umask(0o22))
	addRights(p)
	p.Add(plan.CloseOnExec(3), plan.SetSignalMask(0))
	p.Add(plan.Execve("/probe", append([]string{"probe"}, sections...), []string{"PATH=/bin", "GREETING=hello\tworld"}))
	return p
}

// addRights adds the steps that give up root, but for two capabilities.
func addRights(p *plan.Plan) {
	const kept = 1<<unix.CAP_KILL | 1<<unix.CAP_NET_BIND_SERVICE
	p.Section(7, "rights")
	p.Add(plan.Prlimit(unix.RLIMIT_CORE, unix.Rlimit{}), plan.NotDumpable(), plan.ClearAmbient())
	for capability := 0; capability <= unix.CAP_CHECKPOINT_RESTORE; capability++ {
		if kept&(1<<capability) == 0 {
			p.Add(plan.DropBounding(capability))
		}
	}
	p.Add(
		plan.Setgroups(10, 20), plan.KeepCapabilities(), plan.Setresgid(1000), plan.Setresuid(1000),
		plan.Capset(plan.Capabilities{Effective: kept, Permitted: kept, Inheritable: kept}),
		plan.RaiseAmbient(unix.CAP_KILL), plan.NoNewPrivileges(),
	)
}

// newGate makes a gate that is closed with the test.
func newGate(t testing.TB) *launch.Gate {
	t.Helper()
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gate.Close(); err != nil {
			t.Error(err)
		}
	})
	return gate
}

// openNull is where the program's output goes.
func openNull(t testing.TB) *os.File {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := null.Close(); err != nil {
			t.Error(err)
		}
	})
	return null
}

// output runs the plan that make returns and returns what its program wrote
// to out, which the plan must make its standard output.
func output(t *testing.T, o launch.Options, make func(out *os.File) *plan.Plan) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	process := start(t, make(w), o)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := process.Wait(); err != nil || status.ExitStatus() != 0 {
		t.Fatalf("status %d, error %v\n%s", status.ExitStatus(), err, text)
	}
	return string(text)
}

// varies is what differs from machine to machine.
var varies = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(?m)^(mount (?:/|/etc/hosts|/proc/cmdline)) \w+ (r[ow]).*$`), "$1 THE-HOSTS-FILE-SYSTEM $2"},
	{regexp.MustCompile(`(?m)^(descriptor \d) .*$`), "$1 FILE"},
	{regexp.MustCompile(`address lo ::1/128\n`), ""}, // where there is IPv6
}

func TestAFullContainerSeenFromInside(t *testing.T) {
	testkit.HostUnchanged(t)
	gate, root := newGate(t), fullRoot(t)
	if err := gate.Open(); err != nil {
		t.Fatal(err)
	}
	text := output(t, launch.Options{Namespaces: fullNamespaces}, func(out *os.File) *plan.Plan {
		return fullPlan(t, root, gate, out, "hostname", "process", "ids", "cwd", "root", "mounts",
			"processes", "network", "capabilities", "security", "descriptors", "umask", "environment")
	})
	for _, v := range varies {
		text = v.pattern.ReplaceAllString(text, v.with)
	}
	testkit.Golden(t, text, "full.golden")
}
