package clients

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Without root podman makes a user namespace for all that it does, in which the
// runtime is called as root, and gets no control groups: user_namespaces(7),
// subuid(5).
func TestPodmanWithoutRoot(t *testing.T) {
	c := newClient(t, []string{"podman", "conmon", "newuidmap", "newgidmap"})
	const id = 4711
	for file, line := range map[string]string{
		"/etc/passwd": "skiff:x:4711:4711::/:/bin/sh\n", "/etc/group": "skiff:x:4711:\n",
		"/etc/subuid": "skiff:200000:65536\n", "/etc/subgid": "skiff:200000:65536\n",
	} {
		before, err := os.ReadFile(file)
		c.must(err)
		c.must(os.WriteFile(file, append(before, line...), 0o644))
	}
	c.must(errors.Join(os.Mkdir(c.path("home"), 0o700), os.Chown(c.path("home"), id, id)))
	c.dir = c.path("home")
	c.user = &syscall.Credential{Uid: id, Gid: id}
	c.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "XDG_RUNTIME_DIR=" + c.dir, "CONTAINERS_CONF=" + c.write("containers.conf", podmanConf)}
	c.argv = []string{"podman", "--runtime", c.runtime, "--storage-driver=vfs"}
	t.Cleanup(func() { c.wantNoContainer(c.path(filepath.Base(stateFolder()))) })
	t.Cleanup(func() { c.succeed("system", "migrate") }) // it ends the process that keeps the user namespace
	c.succeed("pull", "--quiet", "--tls-verify=false", c.image)
	p := &engine{client: c, removal: []string{"rm", "--force", "--time=0"}, missing: 127}
	p.want("0\n0 4711 1 1 200000 65536", p.runs(p.image, "sh", "-c", "id -u; echo $(cat /proc/self/uid_map)")...)
	p.use(t, features)
}
