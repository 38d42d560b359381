package main_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
)

// refuse is a registry that has lost its blobs.
var refuse disturbance = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.WriteHeader(http.StatusNotFound)
}

// shorten is a registry that gives less than the manifest says.
var shorten disturbance = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	fmt.Fprint(w, "too short")
}

// tamper is a registry that gives layers of the right size, and changed.
var tamper disturbance = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	blob := answer.Body.Bytes()
	if len(blob) > 10_000 {
		blob[len(blob)/2] ^= 1
	}
	_, _ = w.Write(blob) // skiff may hang up before the end
}

// faults are what can be wrong with a command, and the status that it has to
// have, as docker has it: 125 skiff failed, 126 not executable, 127 not found.
// What skiff says to each is in testdata/faults.golden.
var faults = []struct {
	name   string
	status int
	args   func(m *machine) []string // of skiff; "IMAGE" stands for the image
}{
	{"unknown image", 125, func(m *machine) []string { return []string{"run", m.registry + "/nothing:1"} }},
	{"registry down", 125, func(m *machine) []string { return []string{"run", nobody(m) + "/box:1"} }},
	{"digest mismatch", 125, func(m *machine) []string {
		m.disturb.Store(tamper)
		return []string{"run", m.image}
	}},
	{"size mismatch", 125, func(m *machine) []string {
		m.disturb.Store(shorten)
		return []string{"run", m.image}
	}},
	{"blob lost", 125, func(m *machine) []string {
		m.disturb.Store(refuse)
		return []string{"run", m.image}
	}},
	{"manifest of another platform", 125, func(m *machine) []string {
		return []string{"run", m.push("other:1", image(m, assemble.Options{Platform: ocispec.Platform{OS: "linux", Architecture: "s390x"}}))}
	}},
	{"not a reference", 125, command("run", "Not An Image")},
	{"no image", 125, command("run")},
	{"no such command", 127, command("run", "IMAGE", "nonesuch")},
	{"no such file", 127, command("run", "IMAGE", "/bin/nonesuch")},
	{"not executable", 126, command("run", "IMAGE", "/text")},
	{"a folder", 126, command("run", "IMAGE", "/bin")},
	{"no program at all", 126, command("run", "IMAGE", "/no-program")},
	{"no such user", 125, command("run", "--user", "nobody-here", "IMAGE")},
	{"no such network", 125, command("run", "--network", "moon", "IMAGE")},
	{"no such platform", 125, command("run", "--platform", "linux", "IMAGE")},
	{"memory that is no size", 125, command("run", "--memory", "lots", "IMAGE")},
	{"less processor time than the kernel gives", 125, command("run", "--cpus", "0.000001", "IMAGE")},
	{"environment without a value", 125, command("run", "--env", "NAME", "IMAGE")},
	{"a volume without a destination", 125, command("run", "--volume", "/tmp", "IMAGE")},
	{"a volume that is not there", 125, command("run", "--volume", "/nowhere:/data", "IMAGE")},
	{"an id that is none", 125, command("run", "--name", "../box", "IMAGE")},
	{"no such flag", 125, command("run", "--frobnicate", "IMAGE")},
	{"no such subcommand", 125, command("frobnicate")},
	{"state folder below a file", 125, func(m *machine) []string {
		m.state = filepath.Join(file(m), "state")
		return []string{"run", m.image}
	}},
	{"root folder below a file", 125, func(m *machine) []string {
		m.root = filepath.Join(file(m), "root")
		return []string{"run", m.image}
	}},
	{"remove an image that is not there", 125, command("rmi", "nothing")},
}

// command returns these arguments, for the caller to keep.
func command(args ...string) func(*machine) []string {
	return func(*machine) []string { return slices.Clone(args) }
}

// nobody is an address at which nobody listens.
func nobody(m *machine) string {
	m.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	m.must(err)
	m.must(listener.Close())
	return listener.Addr().String()
}

// file makes an empty file.
func file(m *machine) string {
	m.Helper()
	name := filepath.Join(m.TempDir(), "file")
	m.must(os.WriteFile(name, nil, 0o600))
	return name
}

// Whatever is wrong, skiff says it in one line, with a hint where there is a
// remedy, has the status that people know from docker, and leaves nothing.
func TestACommandThatIsWrong(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	root, state := m.root, m.state
	var said strings.Builder
	for _, fault := range faults {
		m.root, m.state = root, state
		args := fault.args(m)
		for i := range args {
			args[i] = strings.ReplaceAll(strings.ReplaceAll(args[i], "IMAGE", m.image), "IMAGE", m.image)
		}
		got := m.do(args...)
		if got.status != fault.status {
			t.Errorf("%s: status %d, want %d", fault.name, got.status, fault.status)
		}
		message := wantOneLine(t, fault.name, got.err)
		fmt.Fprintf(&said, "# %s\n%s", fault.name, message)
		m.disturb.Store(disturbance(nil))
		m.root, m.state = root, state
		m.wantNothing()
	}
	testkit.Golden(t, varying.ReplaceAllString(said.String(), "$1$2$3$4${5}…"), "faults.golden")
}

// varying is what differs between machines, kernels and runs: two layers come
// at the same time, and either may be the first to fail.
var varying = regexp.MustCompile(`(\(step )\d+ of \d+|(sha256:)[0-9a-f]{12,}|(image for linux/)\w+|(layer )\d of \d|(the manifest says )\d+`)

// wantOneLine asserts that an error is one line, and perhaps a hint; what
// comes before is about the pull. It returns both.
func wantOneLine(t testing.TB, name, text string) string {
	t.Helper()
	_, message, found := strings.Cut("\n"+text, "\nskiff: ")
	lines := strings.Split(strings.TrimSuffix(message, "\n"), "\n")
	if !found || len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("%s: want one line and perhaps a hint, got\n%s", name, text)
	}
	return "skiff: " + message
}

func TestAnIdInUse(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	first := m.start("ready", "run", "--name", "box", m.image, "sh", "-c", "echo ready; exec sleep 1000")
	got := m.do("run", "--name", "box", m.image)
	want := "skiff: container \"box\": the id is already in use\nhint: choose another id, or delete that container first\n"
	if got.status != 125 || got.err != want {
		t.Errorf("status %d: %s", got.status, got.err)
	}
	first.signal(15)
	if status := first.end(); status != 137 {
		t.Errorf("the first one: status %d: %s", status, first.said())
	}
	m.wantNothing()
}

func TestAStateFolderThatIsReadOnly(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare", "mount")
	m := newMachine(t).pulled()
	m.must(os.Mkdir(m.state, 0o700))
	run := m.skiff("run", m.image)
	// In a mount namespace of its own, so that no other process sees it.
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", `mount -t tmpfs -o ro tmpfs "$0" && exec "$@"`, m.state}, run.Args...)...)
	got := m.finish(cmd)
	if got.status != 125 {
		t.Errorf("status %d, want 125", got.status)
	}
	testkit.Golden(t, wantOneLine(t, "state folder", got.err), "readonly.golden")
	m.wantNothing()
}
