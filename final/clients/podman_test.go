package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Podman has no daemon: conmon stays beside each container and calls the
// runtime. podman-run(1), containers.conf(5), oci-hooks(5).

// podmanConf is for a machine that has neither systemd nor limits as high as
// podman's own.
const podmanConf = `
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
init_path = "/usr/bin/docker-init"
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
`

func TestPodman(t *testing.T) {
	c := newClient(t, []string{"podman", "conmon", "docker-init"}, stateFolder())
	p := &engine{client: c, placed: []string{"--cgroup-parent=" + c.group}, removal: []string{"rm", "--force", "--time=0"}, missing: 127}
	c.env = append(c.env, "CONTAINERS_CONF="+c.write("containers.conf", podmanConf))
	c.argv = []string{
		"podman", "--runtime", c.runtime, "--root", c.path("root"), "--runroot", c.path("run"), "--tmpdir", c.path("tmp"),
		"--hooks-dir", c.dir + "/hooks",
	}
	c.must(os.Mkdir(c.path("hooks"), 0o755))
	c.succeed("pull", "--quiet", "--tls-verify=false", c.image)
	p.useFlags(t)
	p.use(t, features, groupFeatures, []feature{
		{"info", func(p *engine) { p.want(p.runtime, "info", "--format", "{{.Host.OCIRuntime.Path}}") }},
		{"a pod", pod},
		{"hooks", hooks},
		{"a user namespace", func(p *engine) {
			p.want("0 0 100000 5000", p.runs("--uidmap=0:100000:5000", "--gidmap=0:100000:5000", p.image,
				"sh", "-c", "echo $(id -u) $(cat /proc/self/uid_map)")...)
		}},
		{"privileged", func(p *engine) { // docker does not know that a machine may lack a capability
			p.want("mounted", p.runs("--privileged", p.image, "sh", "-c", "mount -t tmpfs none /tmp && echo mounted")...)
		}},
		{"rootfs", func(p *engine) {
			p.write("tree/bin/sh", p.busybox())
			p.want("inside", p.runs("--rootfs", p.path("tree"), "/bin/sh", "-c", "echo inside")...)
		}},
	})
}

// pod has two containers share the namespaces of a third, which does nothing.
func pod(p *engine) {
	p.Cleanup(func() {
		id := p.succeed("pod", "inspect", "--format", "{{.ID}}", "pair")
		p.succeed("pod", "rm", "--force", "--time=0", "pair")
		for _, path := range groups(p, p.group+"/"+id) { // podman forgets name=systemd and v2 beside v1
			p.must(os.Remove(path))
		}
	})
	p.succeed("pod", "create", "--name=pair", "--hostname=both", "--share=net,ipc,uts,pid", "--network=none",
		"--cgroup-parent="+p.group, "--infra-image="+p.image, "--infra-command=sleep 1000")
	p.succeed("run", "--detach", "--pod=pair", "--name=one", p.image, "sh", "-c", idle)
	p.want("both 1", "run", "--rm", "--pod=pair", p.image, "sh", "-c", `echo "$(hostname) $(ps | grep -c "[t]rap")"`)
	p.want("Running", "pod", "inspect", "--format", "{{.State}}", "pair")
	p.succeed("pod", "pause", "pair")
	p.Cleanup(func() { p.do("pod", "unpause", "pair") })
	if !p.frozen(p.pid("one")) {
		p.Error("a paused pod's container runs")
	}
	p.succeed("pod", "unpause", "pair")
	p.succeed("pod", "stop", "--time=0", "pair")
}

// hooks has a hook of each kind: most write down the state that they get and
// where they are, startContainer's is a program of the image.
func hooks(p *engine) {
	stages := []string{"prestart", "createRuntime", "createContainer", "poststart", "poststop"}
	p.Cleanup(func() {
		p.must(os.RemoveAll(p.path("hooks")))
		p.must(os.Mkdir(p.path("hooks"), 0o755))
	})
	for _, stage := range stages {
		p.hook(stage, p.write("bin/"+stage, "#!/bin/sh\ncat > "+p.path(stage)+".json\nreadlink /proc/self/ns/mnt > "+p.path(stage)+".mnt\n"))
	}
	p.hook("startContainer", "/bin/touch", "touch", "/started")
	p.want("/started", p.runs("--annotation=skiff.hooked=yes", p.image, "ls", "/started")...)
	own, err := os.Readlink("/proc/self/ns/mnt")
	p.must(err)
	for _, stage := range stages {
		p.eventually(stage+" was called", func() bool { _, err := os.Stat(p.path(stage + ".mnt")); return err == nil })
		var state specs.State
		p.must(json.Unmarshal([]byte(p.read(p.path(stage+".json"))), &state))
		if state.ID == "" || filepath.Base(filepath.Dir(state.Bundle)) != state.ID || (stage == "poststop") != (state.Status == specs.StateStopped) {
			p.Errorf("%s got the state %+v", stage, state)
		}
		if inside := strings.TrimSpace(p.read(p.path(stage+".mnt"))) != own; inside != (stage == "createContainer") {
			p.Errorf("%s ran in the container's mount namespace: %t", stage, inside)
		}
	}
}

// hook writes a file that adds a hook to containers with an annotation.
func (e *engine) hook(stage, program string, args ...string) {
	e.Helper()
	text, err := json.Marshal(map[string]any{
		"version": "1.0.0",
		"hook":    specs.Hook{Path: program, Args: args},
		"when":    map[string]any{"annotations": map[string]string{"^skiff.hooked$": "^yes$"}},
		"stages":  []string{stage},
	})
	e.must(err)
	e.write("hooks/"+stage+".json", string(text))
}
