package main_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/demoimage"
	"skiff.example/stage05-images/registry"
)

func TestThePlan(t *testing.T) {
	out, err := exec.Command(testkit.Build(t, "."), "plan").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testkit.Golden(t, string(out), "plan.golden")
}

func TestTheDemo(t *testing.T) {
	testkit.HostUnchanged(t)
	temp := t.TempDir()
	cmd := exec.Command(testkit.Build(t, "."), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testkit.Golden(t, withoutHost(string(out)), "demo.golden")
	empty(t, temp)
}

// withoutHost replaces what depends on the host's programs: sizes, the digests,
// by which one it is, and how wide a column is for them.
func withoutHost(out string) string {
	out = regexp.MustCompile(`\d+ bytes|\d+(\.\d+)? ?(B|KiB|MiB|kB|MB)\b`).ReplaceAllString(out, "SIZE")
	out = regexp.MustCompile(`\d+ years ago`).ReplaceAllString(out, "AGE")
	out = regexp.MustCompile(`(?m)^ *IMAGE .*|^.* AGE .*$`).ReplaceAllStringFunc(out, func(line string) string {
		return regexp.MustCompile(`(\S) {2,}`).ReplaceAllString(line, "$1  ")
	})
	seen := map[string]string{}
	return regexp.MustCompile(`\b(sha256[:/])?([0-9a-f]{12})([0-9a-f]{52})?\b`).ReplaceAllStringFunc(out, func(digest string) string {
		prefix, digits := "", digest
		if i := strings.IndexAny(digest, ":/"); i >= 0 {
			prefix, digits = digest[:i+1], digest[i+1:]
		}
		key := digits[:12]
		if seen[key] == "" {
			seen[key] = fmt.Sprintf("DIGEST%d", len(seen)+1)
		}
		return prefix + seen[key]
	})
}

// empty asserts that a folder has nothing in it.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind in %s: %v, %v", dir, entries, err)
	}
}

// machine is a store, and a registry with the demo image in it.
type machine struct {
	*testing.T
	root, ref, address string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	address, stop, err := registry.Serve(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	img, err := demoimage.Build()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t, t.TempDir(), address + "/demo", address}
	if err := registry.Push(context.Background(), img, m.ref); err != nil {
		t.Fatal(err)
	}
	return m
}

// command is stage05 with the store of this machine.
func (m *machine) command(name string, args ...string) *exec.Cmd {
	m.Helper()
	return exec.Command(testkit.Build(m, "."), append([]string{name, "--root", m.root}, args...)...)
}

// run runs stage05 and returns what it says.
func (m *machine) run(name string, args ...string) string {
	m.Helper()
	out, err := m.command(name, args...).CombinedOutput()
	if err != nil {
		m.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// push makes an image of one more layer on the registry.
func (m *machine) push(name string, config ocispec.ImageConfig, files ...assemble.File) string {
	m.Helper()
	img, err := assemble.Image([]assemble.Layer{assemble.Files(files...)}, assemble.Options{Config: config})
	if err != nil {
		m.Fatal(err)
	}
	ref := m.address + "/" + name
	if err := registry.Push(context.Background(), img, ref); err != nil {
		m.Fatal(err)
	}
	m.run("pull", ref)
	return ref
}

// probeImage is an image of nothing but the probe.
func (m *machine) probeImage(config ocispec.ImageConfig) string {
	m.Helper()
	program, err := os.ReadFile(testkit.Probe(m))
	if err != nil {
		m.Fatal(err)
	}
	return m.push("probe", config,
		assemble.Regular("probe", string(program), 0o755), assemble.Directory("work"))
}

// nothingLeft asserts that there is no container's folder.
func (m *machine) nothingLeft() {
	m.Helper()
	if _, err := os.Stat(filepath.Join(m.root, "containers")); !errors.Is(err, os.ErrNotExist) {
		m.Errorf("the folder of containers: %v; want none", err)
	}
}

func TestTheConfigurationOfTheImageIsUsed(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	ref := m.probeImage(ocispec.ImageConfig{
		Entrypoint: []string{"probe"}, Cmd: []string{"cwd"}, Env: []string{"PATH=/nowhere:/", "COLOR=green"}, WorkingDir: "/work",
	})
	if got := m.run("run", ref); got != "cwd /work\n" {
		t.Errorf("Entrypoint and Cmd: %q", got)
	}
	if got := m.run("run", ref, "environment"); !strings.Contains(got, "COLOR=green") || strings.Contains(got, "HOME=") {
		t.Errorf("the environment is not the image's: %q", got)
	}
}

func TestWhatAContainerSees(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	ref := m.probeImage(ocispec.ImageConfig{Entrypoint: []string{"/probe"}})
	testkit.Golden(t, m.run("run", ref, "hostname", "process", "cwd", "root", "processes", "descriptors", "network"), "probe.golden")
}

func TestAnImageThatCannotRun(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	for name, c := range map[string]struct {
		config ocispec.ImageConfig
		want   string
	}{
		"no command":    {ocispec.ImageConfig{}, "it names no command"},
		"no program":    {ocispec.ImageConfig{Cmd: []string{"nothing"}}, `execute "nothing": no such file`},
		"another user":  {ocispec.ImageConfig{Cmd: []string{"/x"}, User: "mail"}, `as user "mail"`},
		"no directory":  {ocispec.ImageConfig{Cmd: []string{"/x"}, WorkingDir: "/none"}, `change directory to "/none": no such file`},
		"a magic link":  {ocispec.ImageConfig{Cmd: []string{"/x"}, WorkingDir: "/proc/self/fd/7"}, `change directory to "/proc/self/fd/7"`},
		"not a program": {ocispec.ImageConfig{Cmd: []string{"/x"}}, "exec format error"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := m.push(strings.ReplaceAll(name, " ", "-"), c.config, assemble.Regular("x", "text", 0o755))
			out, err := m.command("run", ref).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v: %s; want %q", err, out, c.want)
			}
		})
	}
	m.nothingLeft()
}

func TestTheExitStatusIsTheProgrammes(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	m.run("pull", m.ref)
	for script, want := range map[string]int{"exit 7": 7, "kill -s KILL $$; exit 3": 3} { // the kernel keeps pid 1 from killing itself
		cmd := m.command("run", m.ref, "sh", "-c", script)
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("%q: %v; want %d", script, err, want)
		}
	}
}

func TestARunThatIsInterruptedLeavesNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	m.run("pull", m.ref)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		m.interrupt(signal)
		m.nothingLeft()
	}
}

// The container ends with its parent; its folder is left to the next run.
func TestTheNextRunTakesAwayWhatAKilledOneHasLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t) // nobody waits for the container
	m := newMachine(t)
	m.run("pull", m.ref)
	m.interrupt(syscall.SIGKILL)
	m.run("run", m.ref, "sh", "-c", ":")
	m.nothingLeft()
}

// interrupt starts a container and sends the signal to the run.
func (m *machine) interrupt(signal syscall.Signal) {
	m.Helper()
	cmd := m.command("run", m.ref, "sh", "-c", "echo ready; read forever")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		m.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		m.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		m.Fatal(err)
	}
	if err := cmd.Process.Signal(signal); err != nil {
		m.Fatal(err)
	}
	late := time.AfterFunc(10*time.Second, func() { stdin.Close() })
	if err := cmd.Wait(); err == nil {
		m.Errorf("%v: the run went well", signal)
	}
	if !late.Stop() {
		m.Errorf("%v did not end the container", signal)
	}
}

// The commands about registries: what one machine pushes another pulls.
func TestTheCommandsAboutRegistries(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	digest := m.run("pull", "--quiet", m.ref)
	for _, c := range []struct {
		want string
		args []string
	}{
		{digest, []string{"push", "--quiet", m.ref, m.address + "/pushed:1"}},
		{digest, []string{"copy", "--quiet", m.address + "/pushed:1", m.address + "/some/copied:2"}},
		{"2\n", []string{"tags", m.address + "/some/copied"}},
		{"demo\npushed\nsome/copied\n", []string{"catalog", m.address}},
		{"", []string{"referrers", m.ref}},
		{digest, []string{"pull", "--quiet", "--mirror", "example.invalid=" + m.address, "example.invalid/some/copied:2"}},
	} {
		if got := m.run(c.args[0], c.args[1:]...); got != c.want {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
	}
	said := m.run("pull", "--json", m.address+"/some/copied:2")
	if want := fmt.Sprintf(`{"digest":%q,"reference":%q}`+"\n", strings.TrimSpace(digest), m.address+"/some/copied:2"); !strings.HasSuffix(said, want) {
		t.Errorf("--json: %s; want %s", said, want)
	}
	out, err := m.command("push", "demo", "a", "b").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "usage: stage05 push REF [TO]") {
		t.Errorf("%v: %s", err, out)
	}
}
