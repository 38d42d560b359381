package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Containerd has a shim beside each container that calls the runtime; ctr is
// its own client, which says for each container which runtime that is. Neither
// has a manual: ctr run --help.

const containerdConf = `
version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.restart", "io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[debug]
  level = "error"
`

// ctr is containerd's client.
type ctr struct{ *client }

func TestContainerd(t *testing.T) {
	c := ctr{newClient(t, []string{"containerd", "ctr", "containerd-shim-runc-v2"}, "/run/containerd/runc/default")}
	socket := c.path("socket")
	c.argv = []string{"ctr", "--address", socket}
	c.daemon("containerd", "--config", c.write("config.toml", fmt.Sprintf(containerdConf, c.path("root"), c.path("state"), socket)))
	c.eventually("containerd answers", func() bool { return c.do("version").status == 0 })
	c.succeed("image", "pull", "--plain-http", c.image)
	for _, f := range ctrFeatures {
		t.Run(f.name, func(t *testing.T) { f.use(ctr{c.in(t)}) })
	}
}

// run is the command line that runs a container in the foreground.
func (c ctr) run(flags []string, program ...string) []string {
	args := append([]string{"run", "--rm", "--runc-binary", c.runtime, "--cgroup", c.group + "/box"}, flags...)
	return append(append(args, c.image, "box"), program...)
}

// start runs a container until the end of the test. What it says is in a file.
func (c ctr) start(flags ...string) (log string) {
	c.Helper()
	log = c.path("box.log")
	c.must(os.WriteFile(log, nil, 0o600))
	args := append([]string{"run", "--detach", "--runc-binary", c.runtime, "--cgroup", c.group + "/box", "--log-uri", "file://" + log}, flags...)
	c.Cleanup(c.remove)
	c.succeed(append(args, c.image, "box", "sh", "-c", idle)...)
	c.eventually("the program runs", func() bool { return strings.Contains(c.read(log), "out\n") })
	return log
}

// remove removes the container, whatever has become of it.
func (c ctr) remove() {
	c.Helper()
	c.do("task", "resume", "box") // should the test have failed with it paused
	c.do("task", "delete", "--force", "box")
	c.succeed("container", "delete", "box")
}

// task is the line of `task list` about the container: its pid and status.
func (c ctr) task() (pid int, status string) {
	c.Helper()
	for line := range strings.Lines(c.succeed("task", "list")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "box" {
			pid, err := strconv.Atoi(f[1])
			c.must(err)
			return pid, f[2]
		}
	}
	c.Fatal("there is no task")
	return 0, ""
}

func (c ctr) wantTask(status string) {
	c.Helper()
	c.eventually("the task is "+status, func() bool { _, s := c.task(); return s == status })
}

// wantEnd removes a task that has ended with this status.
func (c ctr) wantEnd(name string, status int) {
	c.Helper()
	if said := c.wantStatus(0, "task", "delete", name); !strings.Contains(said, fmt.Sprintf("exit code %d\"", status)) {
		c.Errorf("want status %d: %s", status, said)
	}
}

var ctrFeatures = []struct {
	name string
	use  func(c ctr)
}{
	{"run", func(c ctr) {
		c.want("the image's command", c.run(nil)...)
		c.wantStatus(7, c.run(nil, "sh", "-c", "exit 7")...)
		c.wantStatus(1, c.run(nil, "nonesuch")...)
	}},
	{"flags", func(c ctr) {
		own := fmt.Sprintf("/proc/%d/ns/uts", os.Getpid())
		flags := []string{
			"--read-only", "--cwd=/tmp", "--env=GREETING=hello", "--seccomp", "--cap-drop=CAP_CHOWN", "--cap-add=CAP_SYSLOG",
			"--mount=type=bind,src=" + c.write("data", "of the host\n") + ",dst=/text,options=rbind:ro", "--with-ns=uts:" + own,
		}
		const script = `echo $GREETING $PWD; cat /text; touch /x 2>&1; awk '/^(CapEff|NoNewPrivs|Seccomp):/ { print $2 }' /proc/self/status; readlink /proc/self/ns/uts`
		uts, err := os.Readlink(own)
		c.must(err)
		c.want("hello /tmp\nof the host\ntouch: /x: Read-only file system\n00000004a80425fa\n1\n2\n"+uts, c.run(flags, "sh", "-c", script)...)
	}},
	{"a user namespace", func(c ctr) {
		c.want("0 0 100000 5000", c.run([]string{"--uidmap=0:100000:5000", "--gidmap=0:100000:5000"},
			"sh", "-c", "echo $(id -u) $(cat /proc/self/uid_map)")...)
	}},
	{"a terminal", func(c ctr) {
		s := c.atTerminal(c.run([]string{"--tty"}, "sh")...)
		s.wantShell(otherSize)
		s.wantEnd(3)
	}},
	{"logs", func(c ctr) {
		log := c.start()
		c.eventually("both streams are in the log", func() bool { return len(c.read(log)) == len("out\nerr\n") })
	}},
	{"exec", func(c ctr) {
		c.start()
		c.want("1000", "task", "exec", "--exec-id=a", "--user=guest", "box", "id", "-u")
		c.want("/tmp", "task", "exec", "--exec-id=b", "--cwd=/tmp", "box", "pwd")
		c.wantStatus(9, "task", "exec", "--exec-id=c", "box", "sh", "-c", "exit 9")
		s := c.atTerminal("task", "exec", "--exec-id=f", "--tty", "box", "sh")
		s.wantShell(otherSize)
		s.wantEnd(3)
		if got := c.succeed("task", "ps", "box"); len(strings.Split(got, "\n")) != 3 { // a headline, sh, sleep
			c.Errorf("ps shows\n%s", got)
		}
	}},
	{"attach", func(c ctr) {
		c.Cleanup(c.remove)
		first := c.atTerminal("run", "--detach", "--tty", "--runc-binary", c.runtime, "--cgroup", c.group+"/box", c.image, "box", "sh")
		first.wantEnd(0)
		s := c.atTerminal("task", "attach", "box")
		s.enter("\n") // its first prompt may have been before us
		s.wantShell(otherSize)
		s.wantEnd(3)
	}},
	{"pause, resume, metrics, kill", func(c ctr) {
		c.start("--memory-limit=33554432", "--cpu-shares=512")
		pid, status := c.task()
		if status != "RUNNING" || c.memoryLimit(pid) != "33554432" {
			c.Errorf("it is %s, its limit %s", status, c.memoryLimit(pid))
		}
		c.succeed("task", "pause", "box")
		c.wantTask("PAUSED")
		if !c.frozen(pid) {
			c.Error("the paused container runs")
		}
		c.succeed("task", "resume", "box")
		c.wantTask("RUNNING")
		if got := c.succeed("task", "metrics", "--format=json", "box"); !strings.Contains(got, "33554432") {
			c.Errorf("metrics shows no limit: %s", got)
		}
		c.succeed("task", "kill", "--signal=SIGUSR1", "box")
		c.wantTask("STOPPED")
		c.wantEnd("box", 6)
		c.succeed("run", "--detach", "--null-io", "--runc-binary", c.runtime, "--cgroup", c.group+"/other", c.image, "other", "sleep", "1000")
		c.succeed("task", "kill", "--all", "--signal=SIGKILL", "other")
		c.eventually("it has ended", func() bool { return strings.Contains(c.succeed("task", "list"), "STOPPED") })
		c.wantEnd("other", 137)
		c.succeed("container", "delete", "other")
	}},
	{"events", events},
}

// events has containerd tell what happens to a container that needs more
// memory than it may have.
func events(c ctr) {
	ctx, cancel := context.WithCancel(context.Background())
	log, err := os.Create(c.path("events"))
	c.must(err)
	defer log.Close()
	listener := exec.CommandContext(ctx, c.argv[0], append(append([]string{}, c.argv[1:]...), "events")...)
	listener.Stdout = log
	c.must(listener.Start())
	defer func() {
		cancel()
		_ = listener.Wait() // killed
	}()
	c.eventually("events are shown", func() bool {
		c.succeed("namespace", "label", "default", "try=1")
		return len(c.read(log.Name())) > 0
	})
	c.wantStatus(137, c.run([]string{"--memory-limit=33554432"}, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")...)
	for _, topic := range []string{"/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit", "/tasks/delete"} {
		c.eventually("the event "+topic, func() bool { return strings.Contains(c.read(log.Name()), topic) })
	}
}
