package clients

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
)

var runtimePath = flag.String("runtime", "", "path of the runtime that the clients use; none is skiff-oci of this tree")

// A client is a program that starts containers with the runtime under test.
type client struct {
	testing.TB
	runtime string   // path of the runtime
	image   string   // reference of the image, at a registry on loopback
	dir     string   // a folder of its own, in memory, with a short name: sockets have at most 107 bytes
	group   string   // the control group that all others of this client are in
	argv    []string // the program, and the flags that come before its command
	env     []string
	user    *syscall.Credential // who calls it; nil is root
}

// newClient is what all clients have. The host is compared at the end of the
// test, and the runtime must not remember any container in these folders.
func newClient(t testing.TB, programs []string, states ...string) *client {
	t.Helper()
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, append(programs, "busybox")...)
	c := &client{TB: t, runtime: *runtimePath, env: os.Environ()}
	if c.runtime == "" {
		c.runtime = testkit.Build(t, "skiff.example/final/cmd/skiff-oci")
	}
	dir, err := os.MkdirTemp(folder, "")
	c.must(err)
	c.must(os.Chmod(dir, 0o755)) // the root of a user namespace is nobody special here
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c.dir = dir
	c.group = "/skiff-" + strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-") + "-" + filepath.Base(dir)
	c.image = serve(c)
	c.keepsDevices("/dev/null", "/dev/zero")
	t.Cleanup(c.removeGroups)
	t.Cleanup(func() { c.wantNoContainer(states...) })
	return c
}

// in is the client in a subtest.
func (c *client) in(t testing.TB) *client {
	inner := *c
	inner.TB = t
	return &inner
}

func (c *client) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// path is that of a file in the client's folder.
func (c *client) path(name string) string { return filepath.Join(c.dir, name) }

// write makes a file in the client's folder.
func (c *client) write(name, text string) (path string) {
	c.Helper()
	path = c.path(name)
	c.must(os.MkdirAll(filepath.Dir(path), 0o755))
	c.must(os.WriteFile(path, []byte(text), 0o755))
	return path
}

func (c *client) read(path string) string {
	c.Helper()
	text, err := os.ReadFile(path)
	c.must(err)
	return string(text)
}

// patience is how long a command of a client may take.
const patience = 20 * time.Second

// command is one of the client's commands.
func (c *client) command(args ...string) *exec.Cmd {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.Cleanup(cancel)
	all := append(append([]string{}, c.argv...), args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env = c.env
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user}
	cmd.WaitDelay = time.Second // for one who has inherited the output and keeps it
	return cmd
}

// A result is how a command ended, and what it said.
type result struct {
	status   int
	out, err string
}

func (c *client) finish(cmd *exec.Cmd) result {
	c.Helper()
	var out, warnings strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &warnings
	if err := cmd.Run(); err != nil && (!errors.As(err, new(*exec.ExitError)) || cmd.ProcessState.ExitCode() < 0) {
		c.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, &out, &warnings)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), warnings.String()}
}

// do runs a command of the client to its end.
func (c *client) do(args ...string) result {
	c.Helper()
	return c.finish(c.command(args...))
}

// succeed is do for what must not fail; it returns the output without the end
// of its last line.
func (c *client) succeed(args ...string) (out string) {
	c.Helper()
	got := c.do(args...)
	if got.status != 0 {
		c.Fatalf("%s: status %d\n%s%s", strings.Join(args, " "), got.status, got.out, got.err)
	}
	return strings.TrimSuffix(got.out, "\n")
}

// want runs a command that must succeed and print this.
func (c *client) want(out string, args ...string) {
	c.Helper()
	if got := c.succeed(args...); got != out {
		c.Errorf("%s: got %q, want %q", strings.Join(args, " "), got, out)
	}
}

// wantStatus runs a command that must end with this status.
func (c *client) wantStatus(status int, args ...string) (said string) {
	c.Helper()
	got := c.do(args...)
	if got.status != status {
		c.Errorf("%s: status %d, want %d\n%s%s", strings.Join(args, " "), got.status, status, got.out, got.err)
	}
	return got.out + got.err
}

// eventually waits until something is so.
func (c *client) eventually(what string, is func() bool) {
	c.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.Fatalf("waited in vain: %s", what)
		}
	}
}

// daemon starts a program that runs until the end of the test, when it is told
// to end and must do so.
func (c *client) daemon(args ...string) {
	c.Helper()
	log, err := os.Create(c.path(filepath.Base(args[0]) + ".log"))
	c.must(err)
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, c.env
	c.must(cmd.Start())
	c.Cleanup(func() {
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended: the status says it
		if err := cmd.Wait(); err != nil {
			c.Errorf("%s: %v", args[0], err)
		}
		if said := swallowed.FindAllString(c.read(log.Name()), -1); said != nil {
			c.Errorf("%s says: %q", args[0], said)
		}
		if c.Failed() {
			c.Logf("%s said:\n%s", args[0], errorsOf(c.read(log.Name())))
		}
	})
}

// swallowed is how a daemon writes down that the runtime has failed, in what it
// does for itself and tells no user.
var swallowed = regexp.MustCompile(`.*OCI runtime (delete|events|killall|pause|ps|resume|state|update) failed.*`)

// errorsOf returns the lines of a daemon's log that are about errors.
func errorsOf(log string) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(log, "\n"), func(line string) bool {
		return strings.Contains(line, "level=info") || strings.Contains(line, "level=warning")
	}), "")
}

// wantNoContainer asserts that the runtime keeps nothing in these folders, and
// removes what there is.
func (c *client) wantNoContainer(folders ...string) {
	c.Helper()
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			c.Error(err)
		}
		for _, e := range entries {
			c.Errorf("left in %s: %s", folder, e.Name())
			if out, err := exec.Command(c.runtime, "--root", folder, "delete", "--force", e.Name()).CombinedOutput(); err != nil {
				c.Errorf("delete %s: %v\n%s", e.Name(), err, out)
			}
		}
	}
}

// stateFolder is where a runtime that gets no --root keeps its state: it has
// the runtime's own name.
func stateFolder() string {
	if *runtimePath == "" {
		return "/run/skiff-oci"
	}
	return filepath.Join("/run", filepath.Base(*runtimePath))
}
