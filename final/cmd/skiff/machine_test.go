package main_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/registry"
)

// The bridge and its rules live in a network namespace of the tests' own.
func TestMain(m *testing.M) { os.Exit(testkit.InNewNetwork(m)) }

// A machine is what these tests start from: folders of its own for skiff, and
// a registry on loopback that has the image.
type machine struct {
	testing.TB
	root, state string
	registry    string       // host:port
	image       string       // its reference
	disturb     atomic.Value // of type disturbance: see disturbed
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	testkit.Need(t, "busybox")
	dir := t.TempDir()
	m := &machine{TB: t, root: filepath.Join(dir, "root"), state: filepath.Join(dir, "state")}
	real, stop, err := registry.Serve(context.Background(), "127.0.0.1:0")
	m.must(err)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	m.registry = m.disturbed(real)
	m.image = m.push("box:1", image(t, assemble.Options{Config: plain}))
	return m
}

// A disturbance answers a request for a blob in place of the registry, which
// is next.
type disturbance func(w http.ResponseWriter, r *http.Request, next http.Handler)

// disturbed puts a server in front of a registry which passes on all requests
// until m.disturb has a disturbance; that one gets those for blobs.
func (m *machine) disturbed(real string) (host string) {
	transport := &http.Transport{}
	next := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: real})
			r.Out.Host = r.In.Host // locations that the registry gives lead here again
		},
		Transport: transport,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		instead, _ := m.disturb.Load().(disturbance)
		if instead != nil && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			instead(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}))
	m.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// plain is the configuration of the image.
var plain = ocispec.ImageConfig{Cmd: []string{"echo", "the image's command"}, Env: []string{"PATH=/bin"}}

// image is busybox and our program that looks from inside, in two layers.
func image(t testing.TB, o assemble.Options) v1.Image {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	files := []assemble.File{
		assemble.Regular("bin/busybox", readFile(t, busybox), 0o755),
		assemble.Regular("etc/passwd", "root:x:0:0::/root:/bin/sh\nguest:x:1000:1001::/home/guest:/bin/sh\n", 0o644),
		assemble.Regular("etc/group", "root:x:0:\nguest:x:1001:\nfriends:x:1002:guest\n", 0o644),
	}
	for _, name := range []string{"sh", "cat", "echo", "sleep", "ls", "tty", "touch", "ping", "readlink", "id", "hostname", "pwd", "env"} {
		files = append(files, assemble.Symlink("bin/"+name, "busybox"))
	}
	above := assemble.Files(
		assemble.Regular("probe", readFile(t, testkit.Probe(t)), 0o755),
		assemble.Regular("text", "hello\n", 0o644),
		assemble.Regular("no-program", "hello\n", 0o755),
		assemble.Directory("work"),
	)
	img, err := assemble.Image([]assemble.Layer{assemble.Files(files...), above}, o)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// push puts an image into the registry.
func (m *machine) push(name string, img v1.Image) (reference string) {
	m.Helper()
	reference = m.registry + "/" + name
	m.must(registry.Push(m.Context(), img, reference))
	return reference
}

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// skiff is a command of skiff with the folders of this test.
func (m *machine) skiff(args ...string) *exec.Cmd {
	m.Helper()
	all := append([]string{"--root", m.root, "--state", m.state}, args...)
	return exec.Command(testkit.Build(m, "skiff.example/final/cmd/skiff"), all...)
}

// A result is how a command ended, and what it said.
type result struct {
	status   int
	out, err string
}

func (m *machine) finish(cmd *exec.Cmd) result {
	m.Helper()
	var out, warnings strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &warnings
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		m.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), warnings.String()}
}

// do runs skiff with these arguments to its end.
func (m *machine) do(args ...string) result {
	m.Helper()
	return m.finish(m.skiff(args...))
}

// run is `skiff run` of the image, which must succeed; it returns the output.
func (m *machine) run(flags []string, command ...string) (out string) {
	m.Helper()
	args := append(append([]string{"run"}, flags...), append([]string{m.image}, command...)...)
	got := m.do(args...)
	if got.status != 0 {
		m.Fatalf("skiff %s: status %d\n%s%s", strings.Join(args, " "), got.status, got.out, got.err)
	}
	return got.out
}

// pulled gets the image once, so that a test need not talk of it.
func (m *machine) pulled() *machine {
	m.Helper()
	if got := m.do("pull", m.image); got.status != 0 {
		m.Fatalf("pull: status %d: %s", got.status, got.err)
	}
	return m
}

// A running command of skiff.
type running struct {
	*machine
	cmd *exec.Cmd
	log string
}

// start starts a command, and waits until it has said this.
func (m *machine) start(until string, args ...string) *running {
	m.Helper()
	r := &running{machine: m, cmd: m.skiff(args...), log: filepath.Join(m.TempDir(), "log")}
	out, err := os.OpenFile(r.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	m.must(err)
	defer out.Close()
	r.cmd.Stdout, r.cmd.Stderr = out, out
	m.must(r.cmd.Start())
	m.Cleanup(func() { // without a status the test has failed on its way
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
			m.do("gc")
		}
	})
	m.eventually("skiff says "+until, func() bool { return strings.Contains(r.said(), until) })
	return r
}

func (r *running) said() string { return readFile(r.TB, r.log) }

func (r *running) signal(s syscall.Signal) {
	r.Helper()
	r.must(r.cmd.Process.Signal(s))
}

// end waits for the command's end, a minute at most.
func (r *running) end() (status int) {
	r.Helper()
	late := time.AfterFunc(time.Minute, func() { _ = r.cmd.Process.Kill() })
	defer late.Stop()
	_ = r.cmd.Wait() // the status says it
	return r.cmd.ProcessState.ExitCode()
}

// eventually waits until something is so.
func (m *machine) eventually(what string, is func() bool) {
	m.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			m.Fatalf("waited in vain: %s", what)
		}
	}
}

// wantNothing asserts that no container is left on disk. What would be left of
// one elsewhere, testkit.HostUnchanged sees.
func (m *machine) wantNothing() {
	m.Helper()
	for _, dir := range []string{filepath.Join(m.state, "containers"), filepath.Join(m.root, "containers")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			m.Error(err)
		}
		for _, e := range entries {
			m.Errorf("left in %s: %s", dir, e.Name())
		}
	}
}
