package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// Docker's daemon has containerd call the runtime, which it knows from its
// configuration: dockerd(8), daemon.json.

func TestDocker(t *testing.T) {
	c := newClient(t, []string{"dockerd", "docker", "containerd", "docker-init"})
	d := &engine{client: c, removal: []string{"rm", "--force"}, missing: 126}
	socket := "unix://" + c.path("socket")
	t.Cleanup(func() { c.wantNoContainer(c.path("exec/runtime-runc/moby")) })
	c.env = append(c.env, "DOCKER_HOST="+socket, "DOCKER_BUILDKIT=0", "DOCKER_CONFIG="+c.path("config"))
	c.argv = []string{"docker"}
	config, err := json.Marshal(map[string]any{
		"runtimes":        map[string]any{"tested": map[string]any{"path": c.runtime}},
		"default-runtime": "tested",
		"data-root":       c.path("data"), "exec-root": c.path("exec"), "pidfile": c.path("pid"), "hosts": []string{socket},
		"exec-opts": []string{"native.cgroupdriver=cgroupfs"}, "cgroup-parent": c.group,
		"log-level": "error", "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false, "userland-proxy": false,
	})
	c.must(err)
	c.daemon("dockerd", "--config-file", c.write("daemon.json", string(config)))
	c.eventually("the daemon answers", func() bool { return c.do("version").status == 0 })
	c.succeed("pull", "--quiet", c.image)
	d.useFlags(t)
	d.use(t, features, groupFeatures, []feature{
		{"info", func(d *engine) { d.want("tested", "info", "--format", "{{.DefaultRuntime}}") }},
		{"build", build},
		{"archives", archives},
		{"oom", func(d *engine) {
			d.Cleanup(func() { d.remove("hungry") })
			d.wantStatus(137, "run", "--name=hungry", "--memory=32m", "--memory-swap=32m",
				d.image, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
			d.want("true", "inspect", "--format", "{{.State.OOMKilled}}", "hungry")
		}},
		{"a restart policy", func(d *engine) {
			d.runUntilEnd("failing", "--detach", "--restart=on-failure:1", d.image, "sh", "-c", "exit 3")
			d.eventually("it was restarted", func() bool {
				return d.succeed("inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "failing") == "exited 1"
			})
		}},
	})
}

// build has the builder run a command in a container, and the image that comes
// of it has what the command has made.
func build(d *engine) {
	d.write("context/Dockerfile", "FROM "+d.image+"\nRUN echo made > /product\n")
	d.succeed("build", "--quiet", "--force-rm", "--tag=built", d.path("context"))
	d.want("made", d.runs("built", "cat", "/product")...)
	d.must(os.RemoveAll(filepath.Join(d.dir, "context")))
}

// archives has docker and skiff read what the other has saved: the image stays the
// same, down to its ID.
func archives(d *engine) {
	program := testkit.Build(d, "skiff.example/final/cmd/skiff")
	skiff := func(args ...string) string {
		d.Helper()
		got := d.finish(exec.Command(program, append([]string{"--root", d.path("skiff"), "--state", d.path("state")}, args...)...))
		if got.status != 0 {
			d.Fatalf("skiff %q: status %d\n%s%s", args, got.status, got.out, got.err)
		}
		return strings.TrimSpace(got.out)
	}
	d.succeed("save", "--output", d.path("theirs.tar"), d.image)
	skiff("load", "--input", d.path("theirs.tar"))
	skiff("tag", d.image, "carried:1")
	skiff("save", "--output", d.path("ours.tar"), "carried:1")
	d.want("Loaded image: carried:1", "load", "--quiet", "--input", d.path("ours.tar"))
	d.want(skiff("inspect", "--format", "{{.Id}}", d.image), "inspect", "--format", "{{.Id}}", "carried:1")
	d.want("in it", d.runs("carried:1", "echo", "in it")...)
}
