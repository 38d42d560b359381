package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// A fault is one way in which a bundle can be wrong.
type fault struct {
	name   string
	damage func(*bundle)
}

// faults are in the order of testdata/faults.golden, which has what skiff-oci
// says to each.
var faults = []fault{
	{"no bundle", func(b *bundle) { b.dir = filepath.Join(b.dir, "nowhere") }},
	{"no config.json", func(b *bundle) { b.must(os.Remove(b.config())) }},
	{"config.json is no JSON", func(b *bundle) { b.replace(`"cwd": "/"`, `"cwd" "/"`) }},
	{"config.json ends too soon", func(b *bundle) { b.must(os.Truncate(b.config(), 200)) }},
	{"a value of the wrong type", func(b *bundle) { b.replace(`"cwd": "/"`, `"cwd": 7`) }},
	{"a version from the future", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Version = "2.0.0" }) }},
	{"no root", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Root = nil }) }},
	{"no arguments", func(b *bundle) { b.edit(program()) }},
	{"a relative working directory", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Process.Cwd = "work" }) }},
	{"an unknown namespace", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "dream" }) }},
	{"a namespace that is not there", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/nowhere/net" }) }},
	{"seccomp", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{} }) }},
	{"a hook that is nowhere", func(b *bundle) { b.edit(withHooks("poststop", specs.Hook{Path: "bin/true"})) }},
	{"an unknown limit", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_LUCK" }) }},
	{"a kernel parameter of the host", func(b *bundle) {
		b.edit(func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.panic": "1"} })
	}},
	{"an id that is none", func(b *bundle) { b.id = "../box" }},
	{"no root file system", func(b *bundle) { b.must(os.RemoveAll(b.path(""))) }},
	{"the root file system is a file", func(b *bundle) {
		b.must(os.RemoveAll(b.path("")))
		b.must(os.WriteFile(b.path(""), nil, 0o644))
	}},
	{"nothing to bind-mount", func(b *bundle) {
		b.edit(func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: "/nowhere", Options: []string{"bind"}})
		})
	}},
	{"an unknown file system", func(b *bundle) {
		b.edit(func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/proc", Type: "dreamfs", Source: "none"})
		})
	}},
	{"no such directory", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Process.Cwd = "/bin/sh" }) }},
	{"no such command", func(b *bundle) { b.edit(program("nonesuch")) }},
	{"no such file", func(b *bundle) { b.edit(program("/bin/nonesuch")) }},
	{"not executable", func(b *bundle) {
		b.must(os.WriteFile(b.path("text"), []byte("hello\n"), 0o644))
		b.edit(program("/text"))
	}},
	{"a folder as program", func(b *bundle) { b.edit(program("/bin")) }},
	{"a program without a name", func(b *bundle) { b.edit(program("")) }},
}

// faultsOfTheProgram are those that start finds: there is none, or only execve(2)
// can tell.
var faultsOfTheProgram = []fault{
	{"no process", func(b *bundle) { b.edit(func(s *specs.Spec) { s.Process = nil }) }},
	{"no program at all", func(b *bundle) {
		b.must(os.WriteFile(b.path("text"), []byte("hello\n"), 0o755))
		b.edit(program("/text"))
	}},
}

// steps is how an error says which step has failed; how many there are depends
// on the kernel's capabilities and cgroup hierarchies.
var steps = regexp.MustCompile(`\(step \d+ of \d+\)`)

// Whatever is wrong with a bundle, run says it in one line, with a hint where
// there is a remedy, and leaves nothing.
func TestABundleThatIsWrong(t *testing.T) {
	testkit.HostUnchanged(t)
	var said strings.Builder
	for _, fault := range append(slices.Clone(faults), faultsOfTheProgram...) {
		b := newBundle(t, program("true"))
		fault.damage(b)
		got := b.do("run", "--bundle", b.dir, b.id)
		fmt.Fprintf(&said, "# %s\n%s%s", fault.name, got.out, got.err)
		if got.status != 1 {
			t.Errorf("%s: status %d, want 1", fault.name, got.status)
		}
		wantOneLine(t, fault.name, got.err)
		b.wantNothing()
	}
	testkit.Golden(t, steps.ReplaceAllString(said.String(), "(step N of M)"), "faults.golden")
}

// What create can know, it says; what is left for start is the program itself.
func TestWhatIsWrongIsAnErrorOfCreate(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	for _, fault := range faults {
		b := newBundle(t, program("true"))
		fault.damage(b)
		if got := b.do("create", "--bundle", b.dir, b.id); got.status != 1 {
			t.Errorf("%s: create has status %d, want 1", fault.name, got.status)
		}
		b.wantNothing()
	}
	var said strings.Builder
	for _, fault := range faultsOfTheProgram {
		b := newBundle(t, program("true"))
		fault.damage(b)
		b.succeed("create", "--bundle", b.dir, "box")
		got := b.do("start", "box")
		fmt.Fprintf(&said, "# %s\n%s", fault.name, got.err)
		if got.status != 1 {
			t.Errorf("%s: start has status %d, want 1", fault.name, got.status)
		}
		b.succeed("delete", "box")
		b.wantNothing()
	}
	testkit.Golden(t, steps.ReplaceAllString(said.String(), "(step N of M)"), "start.golden")
}

// wantOneLine asserts that an error is one line, and perhaps a hint.
func wantOneLine(t *testing.T, name, text string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 2 || !strings.HasPrefix(lines[0], "skiff-oci: ") || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("%s: want one line and perhaps a hint, got\n%s", name, text)
	}
}

func (b *bundle) config() string { return filepath.Join(b.dir, "config.json") }

// replace changes the text of config.json.
func (b *bundle) replace(old, text string) {
	b.Helper()
	before := b.read(b.config())
	after := strings.Replace(before, old, text, 1)
	if before == after {
		b.Fatalf("config.json has no %s", old)
	}
	b.must(os.WriteFile(b.config(), []byte(after), 0o644))
}

// A created container that wants a terminal needs somebody to give it to.
func TestCreateNeedsAConsoleSocket(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t)
	got := b.do("create", "--bundle", b.dir, "box")
	if want := "skiff-oci: process.terminal is set: create needs --console-socket\n"; got.err != want || got.status != 1 {
		t.Errorf("status %d: %s", got.status, got.err)
	}
	b.wantNothing()
}

func TestAnIdInUse(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("sh", "-c", "echo ready; exec sleep 1000"))
	r := b.start("ready", "run", "--bundle", b.dir, "box")
	for _, command := range []string{"run", "create"} {
		got := b.do(command, "--bundle", b.dir, "box")
		want := "skiff-oci: container \"box\": the id is already in use\nhint: choose another id, or delete that container first\n"
		if got.status != 1 || got.err != want {
			t.Errorf("%s: status %d: %s", command, got.status, got.err)
		}
	}
	if s := b.status("box"); s != specs.StateRunning {
		t.Errorf("the first one is %q", s)
	}
	b.succeed("kill", "box", "9")
	if status, said := r.end(); status != 137 {
		t.Errorf("status %d: %s", status, said)
	}
	b.wantNothing()
}

func TestAStateFolderThatCannotBeWritten(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare", "mount")
	b := newBundle(t, program("true"))
	file := filepath.Join(t.TempDir(), "file")
	b.must(os.WriteFile(file, nil, 0o600))
	readOnly := t.TempDir()

	below := b.command("run", "--bundle", b.dir, "box")
	below.Args[2] = filepath.Join(file, "state")
	inside := exec.Command("unshare", append([]string{
		"--mount", "sh", "-c", `mount -t tmpfs -o ro tmpfs "$0" && exec "$@"`, readOnly,
	}, b.command("run", "--bundle", b.dir, "box").Args...)...)
	inside.Args[len(inside.Args)-5] = readOnly

	var said strings.Builder
	for _, cmd := range []*exec.Cmd{below, inside} {
		got := b.finish(cmd)
		said.WriteString(got.err)
		if got.status != 1 {
			t.Errorf("status %d, want 1", got.status)
		}
		wantOneLine(t, "state folder", got.err)
	}
	testkit.Golden(t, said.String(), "statefolder.golden")
}
