package main_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// Real input: an image that only others' tools have touched. mmdebstrap makes
// the files from the packages of this machine's distribution, umoci the image,
// skopeo brings it to Debian's docker-registry.

func TestAnImageOfOthersTools(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "mmdebstrap", "nsenter", "umoci", "skopeo", "docker-registry")
	m := newMachine(t)
	tree := bootstrap(m)
	plain := filepath.Join(t.TempDir(), "plain") // for skopeo compresses only what is not compressed
	tool(m, "skopeo", "copy", "--dest-decompress", "oci:"+pack(m, tree)+":12", "dir:"+plain)
	for format, mediaType := range map[string]string{
		"gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
		"zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
	} {
		t.Run(format, func(t *testing.T) {
			m := &machine{TB: t, root: t.TempDir(), state: t.TempDir()}
			m.image = dockerRegistry(m) + "/debian:12"
			tool(m, "skopeo", "copy", "--dest-tls-verify=false", "--dest-compress-format", format, "dir:"+plain, "docker://"+m.image)
			raw := tool(m, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+m.image)
			if n := strings.Count(raw, `"`+mediaType+`"`); n != 3 {
				t.Fatalf("%d layers of type %s in what skopeo pushed:\n%s", n, mediaType, raw)
			}
			checkDebian(m, tree)
		})
	}
}

// checkDebian runs the image and compares what is in it with the tree that it
// was made from.
func checkDebian(m *machine, tree string) {
	m.Helper()
	if got, want := m.run(nil, "cat", "/etc/os-release"), readFile(m, filepath.Join(tree, "usr/lib/os-release")); got != want {
		m.Errorf("/etc/os-release:\n got %q\nwant %q", got, want)
	}
	digest := m.do("pull", m.image).out
	if want := tool(m, "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+m.image); digest != want {
		m.Errorf("skopeo says that the digest is %s, skiff %s", want, digest)
	}
	// Names, modes, owners, sizes and the targets of links.
	const names = `cd "$0" && ls -lnR --time-style=+ bin lib usr`
	if got, want := m.run(nil, "sh", "-c", names, "/"), tool(m, "sh", "-c", names, tree); got != want {
		m.Errorf("files differ:\n got %s\nwant %s", got, want)
	}
	if got := m.run(nil, "cat", "/etc/issue"); got != "replaced by the second layer\n" {
		m.Errorf("/etc/issue: %q", got)
	}
	if got := m.run(nil, "sh", "-c", "ls /etc/host.conf 2>/dev/null || echo gone"); got != "gone\n" {
		m.Errorf("/etc/host.conf: %q", got)
	}
	m.wantNothing()
}

// tool runs a program and returns what it prints.
func tool(m *machine, name string, args ...string) string {
	m.Helper()
	var warnings strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil {
		m.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, warnings.String())
	}
	return string(out)
}

// bootstrap unpacks a few packages into a folder. It needs a mirror, so it
// runs in the network that testkit.InNewNetwork has left this process's
// parent in.
func bootstrap(m *machine) (tree string) {
	m.Helper()
	codename := strings.TrimSpace(tool(m, "sh", "-c", `. /etc/os-release; echo "$VERSION_CODENAME"`))
	tree = filepath.Join(m.TempDir(), "tree")
	tool(m, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", os.Getppid()), "mmdebstrap", "--quiet", "--mode=root",
		"--variant=extract", "--include=base-files,coreutils,dash,libc-bin", codename, tree)
	return tree
}

// pack makes an image of three layers: the tree, a file that replaces one of
// it, and the absence of another one.
func pack(m *machine, tree string) (layout string) {
	m.Helper()
	layout = filepath.Join(m.TempDir(), "layout")
	issue := filepath.Join(m.TempDir(), "issue")
	m.must(os.WriteFile(issue, []byte("replaced by the second layer\n"), 0o644))
	tool(m, "umoci", "init", "--layout", layout)
	tool(m, "umoci", "new", "--image", layout+":12")
	tool(m, "umoci", "insert", "--image", layout+":12", tree, "/")
	tool(m, "umoci", "insert", "--image", layout+":12", issue, "/etc/issue")
	tool(m, "umoci", "insert", "--image", layout+":12", "--whiteout", "/etc/host.conf")
	return layout
}

// dockerRegistry runs docker-registry until the end of the test.
func dockerRegistry(m *machine) (host string) {
	m.Helper()
	host = nobody(m)
	dir := m.TempDir()
	config := filepath.Join(dir, "config.yml")
	m.must(os.WriteFile(config, fmt.Appendf(nil, "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", dir, host), 0o600))
	server := exec.Command("docker-registry", "serve", config)
	var said strings.Builder
	server.Stdout, server.Stderr = &said, &said
	m.must(server.Start())
	m.Cleanup(func() {
		_ = server.Process.Kill() // it has no state worth a clean end
		_ = server.Wait()
		if m.Failed() {
			m.Logf("docker-registry said:\n%s", said.String())
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	m.eventually("docker-registry answers", func() bool {
		answer, err := client.Get("http://" + host + "/v2/")
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil
	})
	return host
}
