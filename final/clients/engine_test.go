package clients

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What podman and docker do alike: podman has docker's command line.

// An engine is one of the two.
type engine struct {
	*client
	placed  []string // flags of run that say where: the control group
	removal []string // the command that removes a container, whatever it does
	missing int      // exec's status when there is no such program
}

func (e *engine) in(t testing.TB) *engine {
	inner := *e
	inner.client = e.client.in(t)
	return &inner
}

// runs is the command line that runs a container which is then removed.
func (e *engine) runs(flags ...string) []string {
	return append(append([]string{"run", "--rm"}, e.placed...), flags...)
}

// idle is a program that waits, and ends when it is told to.
const idle = `trap 'exit 5' TERM; trap 'exit 6' USR1; echo out; echo err >&2; sleep 1000 & while :; do wait; done`

// start runs a container of that program until the end of the test.
func (e *engine) start(name string, flags ...string) {
	e.Helper()
	e.runUntilEnd(name, append(append([]string{"--detach"}, flags...), e.image, "sh", "-c", idle)...)
	e.eventually("the program of "+name+" runs", func() bool { return strings.Contains(e.succeed("logs", name), "out") })
}

// runUntilEnd runs a container that the end of the test removes.
func (e *engine) runUntilEnd(name string, args ...string) {
	e.Helper()
	e.Cleanup(func() { e.remove(name) })
	e.succeed(append(append([]string{"run", "--name", name}, e.placed...), args...)...)
}

// remove removes a container and asserts that it is gone.
func (e *engine) remove(name string) {
	e.Helper()
	e.succeed(append(append([]string{}, e.removal...), name)...)
	e.want("", "ps", "--all", "--quiet", "--filter", "name="+name)
}

// status is what the engine says of a container.
func (e *engine) status(name string) string {
	e.Helper()
	return e.succeed("inspect", "--format", "{{.State.Status}}", name)
}

// pid is that of a container's first process.
func (e *engine) pid(name string) int {
	e.Helper()
	pid, err := strconv.Atoi(e.succeed("inspect", "--format", "{{.State.Pid}}", name))
	e.must(err)
	return pid
}

// A feature is a thing that a user does with an engine.
type feature struct {
	name string
	use  func(e *engine)
}

// features are those that need no control group of the container's own.
var features = []feature{
	{"run", func(e *engine) {
		e.want("the image's command", e.runs(e.image)...)
		e.want("a b", e.runs(e.image, "echo", "a b")...)
	}},
	{"the program's input", func(e *engine) {
		cmd := e.command(e.runs("--interactive", e.image, "cat")...)
		cmd.Stdin = strings.NewReader("from outside\n")
		if got := e.finish(cmd); got.out != "from outside\n" || got.status != 0 {
			e.Errorf("status %d, %q, %s", got.status, got.out, got.err)
		}
	}},
	{"exit statuses", func(e *engine) {
		e.wantStatus(7, e.runs(e.image, "sh", "-c", "exit 7")...)
		e.wantStatus(137, e.runs("--init", e.image, "sh", "-c", "kill -9 $$")...)
		e.wantStatus(126, e.runs(e.image, "/text")...)
		e.wantStatus(126, e.runs(e.image, "/bin")...)
		e.wantStatus(127, e.runs(e.image, "")...)
		e.wantStatus(127, e.runs(e.image, "nonesuch")...)
		e.wantStatus(127, e.runs(e.image, "/bin/nonesuch")...)
	}},
	{"inspect", func(e *engine) {
		e.start("seen")
		if s := e.status("seen"); s != "running" {
			e.Errorf("it is %s", s)
		}
		line := e.read("/proc/" + strconv.Itoa(e.pid("seen")) + "/cmdline")
		if want := "sh\x00-c\x00" + idle + "\x00"; line != want {
			e.Errorf("its first process is %q", line)
		}
	}},
	{"exec", func(e *engine) {
		e.start("main", "--env=GREETING=hello", "--workdir=/tmp")
		e.want("hello /tmp 0", "exec", "main", "sh", "-c", "echo $GREETING $PWD $(id -u)")
		e.want("bye / 1000", "exec", "--env=GREETING=bye", "--workdir=/", "--user=guest", "main", "sh", "-c", "echo $GREETING $PWD $(id -u)")
		e.wantStatus(9, "exec", "main", "sh", "-c", "exit 9")
		e.wantStatus(126, "exec", "main", "/text")
		e.wantStatus(e.missing, "exec", "main", "nonesuch")
		e.succeed("exec", "--detach", "main", "sh", "-c", "echo written > /tmp/sign")
		e.eventually("the detached program has written", func() bool {
			return e.do("exec", "main", "cat", "/tmp/sign").out == "written\n"
		})
		cmd := e.command("exec", "--interactive", "main", "cat")
		cmd.Stdin = strings.NewReader("from outside\n")
		if got := e.finish(cmd); got.out != "from outside\n" || got.status != 0 {
			e.Errorf("status %d, %q, %s", got.status, got.out, got.err)
		}
	}},
	{"a terminal", func(e *engine) {
		s := e.atTerminal(e.runs("--interactive", "--tty", e.image, "sh")...)
		s.wantShell(otherSize)
		s.wantEnd(3)
	}},
	{"exec with a terminal", func(e *engine) {
		e.start("talks")
		s := e.atTerminal("exec", "--interactive", "--tty", "talks", "sh")
		s.wantShell(otherSize)
		s.wantEnd(3)
	}},
	{"attach", func(e *engine) {
		e.runUntilEnd("attached", "--detach", "--interactive", "--tty", e.image, "sh")
		s := e.atTerminal("attach", "attached")
		s.enter("\n") // its first prompt may have been before us
		s.wantShell(otherSize)
		s.end() // with podman not the program's status
		e.want("3", "wait", "attached")
	}},
	{"kill", func(e *engine) {
		e.start("killed")
		e.succeed("kill", "--signal=USR1", "killed")
		e.want("6", "wait", "killed")
		e.want("exited 6", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "killed")
	}},
	{"stop", func(e *engine) {
		e.start("stops")
		e.succeed("stop", "--time=10", "stops")
		e.want("exited 5", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "stops")
		e.runUntilEnd("deaf", "--detach", e.image, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
		e.succeed("stop", "--time=1", "deaf")
		e.want("exited 137", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "deaf")
	}},
	{"restart", func(e *engine) {
		e.start("again")
		first := e.pid("again")
		e.succeed("exec", "again", "touch", "/tmp/kept")
		e.succeed("restart", "again")
		if second := e.pid("again"); second == first || e.status("again") != "running" {
			e.Errorf("its pid was %d and is %d; it is %s", first, second, e.status("again"))
		}
		e.succeed("exec", "again", "ls", "/tmp/kept")
	}},
	{"logs", func(e *engine) {
		e.start("says")
		if got := e.do("logs", "says"); got.out != "out\n" || got.err != "err\n" {
			e.Errorf("output %q, errors %q", got.out, got.err)
		}
	}},
	{"remove", func(e *engine) {
		e.start("goes")
		pid := e.pid("goes")
		e.remove("goes")
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil {
			e.Errorf("process %d is still there", pid)
		}
		e.start("goes") // for the clean-up; and the name is free
	}},
	{"namespaces of another container", func(e *engine) {
		e.start("owner", "--ipc=shareable")
		var want []string
		for _, kind := range []string{"pid", "net", "ipc"} {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", e.pid("owner"), kind))
			e.must(err)
			want = append(want, link)
		}
		e.want(strings.Join(want, "\n"), append(e.runs("--pid=container:owner", "--network=container:owner", "--ipc=container:owner"),
			e.image, "sh", "-c", "cd /proc/self/ns; readlink pid; readlink net; readlink ipc")...)
	}},
}

// groupFeatures are those that do.
var groupFeatures = []feature{
	{"processes that outlive the first", func(e *engine) {
		// Here that is not the first of the namespace, which would take the others along.
		e.start("owner")
		e.succeed(e.runs("--pid=container:owner", e.image, "sh", "-c", "sleep 2000 &")...)
		e.eventually("none of its processes is left", func() bool {
			return e.succeed("exec", "owner", "sh", "-c", "ps | grep -c '[s]leep 2000'; true") == "0"
		})
	}},
	{"pause", func(e *engine) {
		e.start("paused")
		pid := e.pid("paused")
		e.Cleanup(func() { e.do("unpause", "paused") }) // before it is removed, should the test fail
		e.succeed("pause", "paused")
		if s := e.status("paused"); s != "paused" || !e.frozen(pid) {
			e.Errorf("after pause it is %s, frozen: %t", s, e.frozen(pid))
		}
		if got := e.do("exec", "paused", "true"); got.status == 0 {
			e.Error("exec into a paused container succeeds")
		}
		e.succeed("unpause", "paused")
		if s := e.status("paused"); s != "running" || e.frozen(pid) {
			e.Errorf("after unpause it is %s, frozen: %t", s, e.frozen(pid))
		}
		e.succeed("exec", "paused", "true")
	}},
	{"a memory limit", func(e *engine) {
		e.start("small", "--memory=32m")
		if got := e.memoryLimit(e.pid("small")); got != "33554432" {
			e.Errorf("the kernel's limit is %s", got)
		}
		e.want("33554432", "inspect", "--format", "{{.HostConfig.Memory}}", "small")
		e.wantStatus(137, e.runs("--memory=32m", "--memory-swap=32m", e.image, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")...)
	}},
	{"update", func(e *engine) {
		e.start("grows", "--memory=32m", "--memory-swap=32m")
		e.succeed("update", "--memory=48m", "--memory-swap=48m", "--cpu-shares=512", "grows")
		if got := e.memoryLimit(e.pid("grows")); got != "50331648" {
			e.Errorf("the kernel's limit is %s", got)
		}
		if got := e.groupFiles(e.pid("grows"), "cpu", "cpu.shares", "cpu.weight")[0]; got != "512" && got != "59" { // runc's newer formula
			e.Errorf("the kernel's cpu shares are %s", got)
		}
	}},
	{"top and stats", func(e *engine) {
		e.start("busy", "--memory=32m")
		if got := e.succeed("top", "busy"); !strings.Contains(got, "sleep 1000") {
			e.Errorf("top shows %s", got)
		}
		got := strings.Fields(e.succeed("stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "busy"))
		if len(got) != 4 || got[0] != "2" || strings.HasPrefix(got[1], "0") {
			e.Errorf("stats shows %q", got)
		}
	}},
}

// use tries features, each in a subtest.
func (e *engine) use(t *testing.T, all ...[]feature) {
	for _, f := range slices.Concat(all...) {
		t.Run(f.name, func(t *testing.T) { f.use(e.in(t)) })
	}
}
