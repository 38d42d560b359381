package container_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/launch/launchtest"
)

// shell is a container that runs a line of busybox's shell. What it writes to
// /out is in the file that is returned.
func shell(t *testing.T, line string, more ...specs.LinuxNamespace) (*container.Container, string) {
	t.Helper()
	testkit.HostUnchanged(t)
	testkit.Need(t, "busybox")
	root := t.TempDir()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"mkdir", root + "/bin", root + "/out"}, {"chmod", "777", root, root + "/out"}, {"cp", busybox, root + "/bin/busybox"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", err, out)
		}
	}
	set, err := container.Own(more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	argv := []string{"busybox", "sh", "-c", "PATH=/bin; exec > /out/said; " + line}
	return &container.Container{
		Namespaces: set, Root: root, Hostname: "box", Argv: argv, Env: container.Environment(),
	}, root + "/out/said"
}

// said runs c and returns what it has written.
func said(t *testing.T, c *container.Container, file string) string {
	t.Helper()
	if status, err := c.Run(t.Context()); err != nil || status != 0 {
		t.Fatalf("status %v, error %v", status, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestTheProgramIsAloneAndNamed(t *testing.T) {
	c, file := shell(t, "busybox hostname; set -- /proc/[0-9]*; echo $#; echo $$")
	if got := said(t, c, file); got != "box\n1\n1" {
		t.Errorf("got %q", got)
	}
}

func TestTheProcessWaitsUntilItIsPrepared(t *testing.T) {
	c, file := shell(t, "busybox cat /proc/self/oom_score_adj")
	c.Prepare.Do = func(p *launch.Process) error {
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("the program has begun: %v", err)
		}
		return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.Pid), []byte("123"), 0)
	}
	if got := said(t, c, file); got != "123" {
		t.Errorf("got %q", got)
	}
}

func TestWhatCannotBePreparedDoesNotRun(t *testing.T) {
	c, file := shell(t, "echo it ran")
	failure := errors.New("not today")
	c.Prepare.Do = func(*launch.Process) error { return failure }
	if _, err := c.Run(t.Context()); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("it ran: %v", err)
	}
}

// CLONE_INTO_CGROUP, on a machine that has cgroup v2.
func TestTheProcessIsBornInItsCgroup(t *testing.T) {
	c, file := shell(t, "busybox grep ^0: /proc/self/cgroup")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	v2 := regexp.MustCompile(`(?m)^\S+ \S+ \S+ / (\S+) .* - cgroup2 `).FindSubmatch(mounts)
	if v2 == nil {
		t.Skip("needs a cgroup v2 hierarchy")
	}
	group := string(v2[1]) + "/skiff-test-born"
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	if c.Cgroup, err = os.Open(group); err != nil {
		t.Fatal(err)
	}
	defer c.Cgroup.Close()
	if got := said(t, c, file); got != "0::/skiff-test-born" {
		t.Errorf("got %q", got)
	}
}

func TestTheEndOfTheContextEndsTheContainer(t *testing.T) {
	c, _ := shell(t, "exec busybox sleep 60")
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	c.Prepare.Do = func(*launch.Process) error { cancel(cause); return nil }
	if status, err := c.Run(ctx); !errors.Is(err, cause) || !status.Signaled() {
		t.Errorf("status %v, error %v", status, err)
	}
}

func TestInAUserNamespaceTheProgramIsRoot(t *testing.T) {
	c, file := shell(t, "busybox id -u; busybox cat /proc/self/uid_map; echo x > /dev/null && busybox ls -l /dev/null | busybox cut -c 1",
		specs.LinuxNamespace{Type: specs.UserNamespace})
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100_000, Size: 10}}
	c.Maps.UIDs, c.Maps.GIDs = ids, ids
	if err := os.Chmod(c.Root+"/..", 0o755); err != nil { // id 100000 must get there
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(said(t, c, file)), " "); got != "0 0 100000 10 c" {
		t.Errorf("got %q", got)
	}
}

// CVE-2024-21626: this process has folders of the host open, and its child has them
// until it becomes the program. None of them is a way to a program of the host, nor to
// an interpreter, which only the kernel looks up.
func TestNoDescriptorLeadsOut(t *testing.T) {
	folder, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	c, file := shell(t, "")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	script := c.Root + "/script"
	for n := 3; n < 40; n++ {
		out := fmt.Sprintf("/proc/self/fd/%d%s%s", n, strings.Repeat("/..", 12), busybox)
		if err := os.WriteFile(script, []byte("#!"+out+" touch /out/said\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, program := range [][]string{{out, "touch", "/out/said"}, {"/script"}} {
			c.Path, c.Argv = program[0], program
			status, err := c.Run(t.Context())
			if err == nil {
				t.Errorf("%s has run, status %v", out, status)
			}
			if _, err := os.Stat(file); err == nil {
				t.Fatalf("descriptor %d: a program of the host has run in the container", n)
			}
		}
	}
}

func TestStepsOfLaterChaptersHaveTheirPlace(t *testing.T) {
	c, file := shell(t, "busybox cat /layer/mark; busybox pwd")
	c.Layers = func(p *plan.Plan) error {
		p.Add(
			plan.Mkdirat(plan.CWD, c.Root+"/layer", 0o755),
			plan.Mount("tmpfs", c.Root+"/layer", "tmpfs", 0, ""),
			plan.Symlinkat("/out/text", plan.CWD, c.Root+"/layer/mark"),
		)
		return nil
	}
	if err := os.WriteFile(c.Root+"/out/text", []byte("mounted first\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Process = func(p *plan.Plan) { p.Add(plan.Chdir("/out")) }
	if got := said(t, c, file); got != "mounted first\n/out" {
		t.Errorf("got %q", got)
	}
}

func TestAFailedStepIsNamed(t *testing.T) {
	c, _ := shell(t, "true")
	c.Process = func(p *plan.Plan) { p.Add(plan.Chdir("/no/such/place")) }
	_, err := c.Run(t.Context())
	var step *plan.Error
	if !errors.As(err, &step) || !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
}

func TestHowTheProgramEndedIsTold(t *testing.T) {
	for line, want := range map[string]error{
		"exit 0": nil, "exit 7": container.ExitStatus(7), "busybox sh -c 'kill -9 $$'; exit $?": container.ExitStatus(137),
	} {
		c, _ := shell(t, line)
		status, err := c.Run(t.Context())
		if got := container.Failed(status); err != nil || got != want {
			t.Errorf("%s: got %v, error %v; want %v", line, got, err, want)
		}
	}
}

func TestExplainSaysHowLongEachStepTook(t *testing.T) {
	c, file := shell(t, "echo done")
	var out strings.Builder
	c.Explain = &out
	said(t, c, file)
	if !strings.Contains(out.String(), "µs  pivot_root") {
		t.Errorf("got %s", out.String())
	}
}

// What is printed is what happens, for each kind of container that stage 2 makes:
// strace(1) sees the calls of the plan, in order, and no others.
func TestWhatHappensIsThePrintedPlan(t *testing.T) {
	if root := os.Getenv("RUN_CONTAINER"); root != "" {
		c := variant(t, os.Getenv("VARIANT"), root)
		if _, err := c.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return
	}
	testkit.Need(t, "strace")
	for _, name := range []string{"", "user", "prepared"} {
		c, _ := shell(t, "true")
		t.Setenv("RUN_CONTAINER", c.Root)
		t.Setenv("VARIANT", name)
		p, err := variant(t, name, c.Root).Plan()
		if err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		traces := launchtest.Strace(t, "", os.Args[0], "-test.run=^"+t.Name()+"$")
		launchtest.Compare(t, p, launchtest.Container(t, traces))
	}
}

// variant is a container that exits at once, with something of its own.
func variant(t *testing.T, name, root string) *container.Container {
	t.Helper()
	c := &container.Container{
		Root: root, Hostname: "box", Path: "/bin/busybox", Argv: []string{"busybox", "true"}, Env: container.Environment(),
	}
	var more []specs.LinuxNamespace
	switch name {
	case "user":
		more = append(more, specs.LinuxNamespace{Type: specs.UserNamespace})
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1000}}
		c.Maps.UIDs, c.Maps.GIDs = ids, ids
	case "prepared":
		c.Prepare = container.Preparation{Chapter: 3, Title: "wait", Do: func(*launch.Process) error { return nil }}
		more = append(more, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	set, err := container.Own(more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	c.Namespaces = set
	return c
}

// With the host's folder on /dev, the small process 1 would be a file in it.
func TestNothingIsMadeInTheHostsDev(t *testing.T) {
	for _, dest := range []string{"/dev", "dev/", "/x/../dev"} {
		c, _ := shell(t, "true")
		shown := t.TempDir()
		c.Init = true
		c.Mounts = []specs.Mount{{Destination: dest, Type: "bind", Source: shown, Options: []string{"bind"}}}
		if _, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "small process 1") {
			t.Errorf("%s: %v", dest, err)
		}
		if made, err := os.ReadDir(shown); err != nil || len(made) > 0 {
			t.Errorf("%s: there are %v, %v", dest, made, err)
		}
	}
}
