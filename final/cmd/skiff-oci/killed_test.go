package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage01-chroot/testkit/hoststate"
)

// kill -9 at any moment: strace(1) kills a command of skiff-oci, or the container's
// process, when one of its threads makes its n-th system call, before the call is
// carried out. Whatever was done by then, `delete --force` unmakes it.

// forEachCommand bounds how long each command is tried, on a machine that is slow: then
// not all places get their turn, and which ones differs from run to run.
const forEachCommand = 5 * time.Second

// effects are the calls by which a command changes something outside itself. To be
// killed between two of them leaves the same as at the second: so each of these gets its
// turn, and every fifth time it is any call at all. Not execve: the first one would be
// that of the hook that takes away what others have left.
const effects = "mkdirat,mknodat,write,pwrite64,sendmsg,renameat,unlinkat,fchmodat,fchownat,ftruncate,mount,umount2,flock,clone,clone3,kill,pidfd_send_signal"

func TestKilledAtAnySystemCall(t *testing.T) {
	create := []string{"create", "--bundle", "BUNDLE", "box"}
	for _, c := range []killing{
		{name: "create", killed: create},
		{name: "start", before: [][]string{create}, killed: []string{"start", "box"}},
		{name: "delete", before: [][]string{create}, killed: []string{"delete", "box"}},
		{name: "run", killed: []string{"run", "--bundle", "BUNDLE", "box"}},
	} {
		t.Run(c.name, func(t *testing.T) { killSomewhere(t, newBundle(t, writable, program("true")), c) })
		t.Run(c.name+" with hooks", func(t *testing.T) { killSomewhere(t, withThings(t), c) })
	}
	exec := killing{
		name: "exec", before: [][]string{create, {"start", "box"}}, killed: []string{"exec", "box", "true"},
		after: []string{"exec", "box", "true"}, // the container goes on
	}
	t.Run(exec.name, func(t *testing.T) { killSomewhere(t, newBundle(t, writable, program("sleep", "1000")), exec) })
}

// A place is where a command is killed: at the n-th of these calls that a thread makes.
type place struct {
	calls string
	n     int
}

// A killing is a command that is killed on its way.
type killing struct {
	name   string
	before [][]string // what is done first, unharmed
	killed []string
	after  []string // what must succeed then, if anything must
}

// withThings is a bundle whose hooks leave things on the host until poststop takes
// them away.
func withThings(t *testing.T) *bundle {
	b := newBundle(t, writable, program("true"))
	things := b.path("things")
	b.must(os.Mkdir(things, 0o755))
	for _, kind := range hookKinds[:5] {
		folder := things
		if kind == "startContainer" {
			folder = "/things"
		}
		b.edit(withHooks(kind, shell(`echo > "$0"`, filepath.Join(folder, kind))))
	}
	b.edit(withHooks("poststop", shell(`busybox rm -f "$0"/*`, things)))
	return b
}

// killSomewhere kills the command at many places, one after another.
func killSomewhere(t *testing.T, b *bundle, c killing) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, "strace")
	b.TB = t
	prepare := func() {
		for _, args := range c.before {
			b.succeed(b.inBundle(args)...)
		}
	}
	prepare()
	most := b.countCalls(b.inBundle(c.killed))
	b.succeed("delete", "--force", "box")
	var places []place
	for name := range strings.SplitSeq(effects, ",") {
		for n := range most[name] {
			places = append(places, place{name, n + 1})
		}
	}
	rand.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	for n := 4; n < len(places); n += 5 {
		places = slices.Insert(places, n, place{"all", 1 + rand.IntN(most["all"])})
	}
	died, tried := 0, 0
	for end := time.Now().Add(forEachCommand); tried < len(places) && time.Now().Before(end); tried++ {
		at := places[tried]
		prepare()
		if b.strace(b.inBundle(c.killed), "-e", "trace="+at.calls, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", at.calls, at.n)) != nil {
			died++
		}
		if c.after != nil {
			b.succeed(b.inBundle(c.after)...)
		}
		b.forceDelete(at)
		b.wantNothing()
		b.wantNoThings()
		if t.Failed() {
			t.Fatalf("killed at %v", at)
		}
	}
	t.Logf("%d times of %d it was killed on its way, at %d places of %d", died, tried, len(places), most["all"])
	if died < tried/8 {
		t.Errorf("it was hardly ever killed")
	}
}

// forceDelete deletes what is left, which takes a moment and not for ever. Meanwhile
// the test does what init does, and takes in the dead whose parents were killed: a
// pid namespace ends only when all that were in it have been waited for.
func (b *bundle) forceDelete(at place) {
	b.Helper()
	cmd := b.startCommand("delete", "--force", "box")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for bound := time.After(20 * time.Second); ; {
		select {
		case err := <-ended:
			if err != nil {
				b.Fatalf("killed at %v: delete --force: %v", at, err)
			}
			return
		case <-bound:
			b.must(cmd.Process.Kill())
		case <-time.After(2 * time.Millisecond):
			dead, err := hoststate.Zombies()
			b.must(err)
			for _, pid := range dead {
				if pid != cmd.Process.Pid {
					_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // perhaps it is another's by now
				}
			}
		}
	}
}

// inBundle puts the bundle's folder into arguments.
func (b *bundle) inBundle(args []string) []string {
	return strings.Split(strings.ReplaceAll(strings.Join(args, "\x00"), "BUNDLE", b.dir), "\x00")
}

// strace runs a command under strace, which stays beside it (-D) until the last of
// its processes has ended: that of a created container has not.
func (b *bundle) strace(args []string, options ...string) error {
	b.Helper()
	cmd := b.command(args...)
	cmd.Args = append(append([]string{"strace", "-D", "-f", "-qq", "-o", "/dev/null"}, options...), cmd.Args...)
	cmd.Path = mustFind(b, "strace")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	err := cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		b.Fatal(err)
	}
	return err
}

// countCalls is how many system calls of each name the thread of a command makes that
// makes most of them; "all" are those of all names.
func (b *bundle) countCalls(args []string) map[string]int {
	b.Helper()
	trace := filepath.Join(b.TempDir(), "trace")
	b.must(b.strace(args, "-o", trace))
	calls, most := map[string]int{}, map[string]int{}
	for line := range strings.Lines(b.read(trace)) {
		thread, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, ok := strings.Cut(strings.TrimSpace(call), "(")
		if !ok || strings.Contains(name, "resumed>") {
			continue
		}
		for _, name := range []string{name, "all"} {
			calls[thread+name]++
			most[name] = max(most[name], calls[thread+name])
		}
	}
	return most
}

// wantNoThings asserts that no group and nothing that hooks have made is left.
func (b *bundle) wantNoThings() {
	b.Helper()
	groups, err := filepath.Glob("/sys/fs/cgroup/*/skiff-box")
	b.must(err)
	things, err := os.ReadDir(b.path("things"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
	for _, g := range groups {
		b.Errorf("left: %s", g)
	}
	for _, thing := range things {
		b.Errorf("left by a hook: %s", thing.Name())
	}
}

// A limit of 1 MiB is enough to start, and less ends with an error that says why.
func TestAMemoryLimitThatIsTooSmallToStart(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("true"))
	limit := func(bytes int64) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &bytes} }
	}
	b.edit(limit(1 << 20))
	b.succeed("run", "--bundle", b.dir, "box")
	b.edit(limit(8 << 10))
	for _, command := range []string{"run", "create"} {
		got := b.do(command, "--bundle", b.dir, "box")
		if got.status != 1 || !strings.Contains(got.err, "out of memory\nhint: linux.resources.memory.limit is 8192 bytes\n") {
			t.Errorf("%s: status %d: %s", command, got.status, got.err)
		}
		b.wantNothing()
	}
}
