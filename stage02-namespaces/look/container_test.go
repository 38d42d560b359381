package look_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/look"
	"skiff.example/stage02-namespaces/namespace"
)

// start runs p, whose program waits, in new namespaces; in what prepare does it
// is given its id maps. The program has begun when start returns, and ends with
// the test.
func start(t *testing.T, flags uintptr, prepare func(pid int) error, steps ...plan.Step) *launch.Process {
	t.Helper()
	in, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	output, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	p.Add(gate.Steps()...)
	p.Add(plan.Dup3(plan.Descriptor{Number: int(in.Fd()), Name: "input"}, 0),
		plan.Dup3(plan.Descriptor{Number: int(out.Fd()), Name: "output"}, 1), plan.CloseOnExec(3))
	p.Add(steps...)
	process, err := launch.Start(p, launch.Options{Namespaces: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := errors.Join(process.Kill(), process.Close(), input.Close(), output.Close())
		if err != nil {
			t.Error(err)
		}
	})
	err = errors.Join(prepare(process.Pid), gate.Open(), in.Close(), out.Close(), process.Started(), gate.Close())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	return process
}

// waits is the program of processes that only are looked at.
func waits(t *testing.T) string {
	t.Helper()
	return testkit.Build(t, "./testdata/waits")
}

// execute is the end of a plan.
func execute(program string, args ...string) []plan.Step {
	return []plan.Step{plan.SetSignalMask(0), plan.Execve(program, args, nil)}
}

// inNew is a process in new namespaces, and in nothing else that is new.
func inNew(t *testing.T, flags uintptr, steps ...plan.Step) int {
	t.Helper()
	nothing := func(int) error { return nil }
	return start(t, flags, nothing, append(steps, execute(waits(t), "waits")...)...).Pid
}

// heldAfter is a process that has done these steps and waits without executing
// a program: execve(2) would move it into the namespaces of its children.
func heldAfter(t *testing.T, steps ...plan.Step) int {
	t.Helper()
	ready, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	p.Add(steps...)
	p.Add(plan.Write(plan.Descriptor{Number: int(says.Fd()), Name: "ready"}, "r"))
	p.Add(gate.Steps()...)
	p.Add(plan.Exit(0))
	process, err := launch.Start(p, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(process.Kill(), process.Close(), gate.Close(), ready.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := says.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return process.Pid
}

// mapIDs gives a process's user namespace two ranges of users and one of groups.
func mapIDs(pid int) error {
	users := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536}}
	groups := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
	return namespace.Maps{UIDs: users, GIDs: groups}.Write(pid)
}

// container is a process 1 with a root file system of its own: a tmpfs, with
// mounts of which each shows something.
func container(t *testing.T) *launch.Process {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // its users are nobody's here
		t.Fatal(err)
	}
	steps := []plan.Step{
		plan.Setresgid(0), plan.Setresuid(0),
		plan.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		plan.Mount("skiff root", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k"),
		plan.Chdir(root),
	}
	for _, dir := range []string{"bin", "two words", "two words/below"} {
		steps = append(steps, plan.Mkdirat(plan.CWD, dir, 0o755))
	}
	steps = append(steps,
		plan.Mount(filepath.Dir(waits(t)), "bin", "", unix.MS_BIND, ""),
		plan.Mount("words", "two words", "tmpfs", unix.MS_NOEXEC|unix.MS_RDONLY, ""),
		plan.Mount("none", "two words", "", unix.MS_SHARED, ""),
		plan.Mount("plain", "bin", "tmpfs", unix.MS_RDONLY, ""), plan.Umount2("bin", 0), // leaves no trace
	)
	steps = append(steps, plan.LoopbackUp(&plan.Plan{})...)
	steps = append(steps, plan.PivotRoot(".", "."), plan.Umount2(".", unix.MNT_DETACH), plan.Chdir("/"))
	const all = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
	return start(t, all, mapIDs, append(steps, execute("/bin/waits", "waits")...)...)
}

// read is look.Read.
func read(t *testing.T, pid int) *look.Process {
	t.Helper()
	p, err := look.Read(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// table and tree are what is drawn of a process.
func table(t *testing.T, pid int) string {
	t.Helper()
	var b strings.Builder
	if err := look.Table(&b, pid); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tree(t *testing.T, pid int) string {
	t.Helper()
	var b strings.Builder
	if err := look.Tree(&b, pid); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// run is what a program of others prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	testkit.Need(t, name)
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return string(out)
}
