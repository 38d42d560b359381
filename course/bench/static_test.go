package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"

	"skiff.example/course/thread"
	"skiff.example/stage01-chroot/testkit"
)

// What makes the comparison with C a fair one: strace(1) sees both make the same calls,
// with the same arguments and errors.
//
// Those of the container's process, up to its execve(2), are compared one by one, in
// order. Those of the commands around it are counted: in which order they come is each
// one's own affair. What one makes and not the other is in the tables at the end of this
// file, each with its reason. All of it counts against skiff-oci.

func TestTheContainerInCMakesTheSameCalls(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	for _, difference := range compareWithC(t, func(*inC) {}) {
		t.Error(difference)
	}
}

// TestWhatTheContainerInCLeavesOutIsSeen leaves out something, and sees the comparison
// name it.
func TestWhatTheContainerInCLeavesOutIsSeen(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	instead := func(text, with string) func(*inC) {
		return func(c *inC) {
			assert.Check(t, cmp.Equal(bytes.Count(c.source, []byte(text)), 1))
			c.source = bytes.ReplaceAll(c.source, []byte(text), []byte(with))
		}
	}
	for name, test := range map[string]struct {
		change func(*inC)
		want   string
	}{
		"a mount":         {instead(`mount_on("dev/mqueue", "mqueue", NO_MAGIC, OPTIONS("source", "mqueue"), NOSUID | NODEV | NOEXEC);`, ""), `"dev/mqueue"`},
		"a flag":          {instead(`CLONE_NEWNET, pidfd)`, `0, pidfd)`), "clone3"},
		"a hierarchy":     {func(c *inC) { c.hierarchies = c.hierarchies[1:] }, "/sys/fs/cgroup/"},
		"the device list": {instead("\tallow_devices();\n", ""), "devices.allow"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Check(t, cmp.Contains(strings.Join(compareWithC(t, test.change), "\n"), test.want))
		})
	}
}

// compareWithC has skiff-oci and the program in C, after a change, do the same, and
// returns how the calls differ.
func compareWithC(t *testing.T, change func(*inC)) []string {
	t.Helper()
	testkit.Need(t, "runc", "crun", "busybox", "gcc", "strace")
	runtimes, err := find(testkit.Build(t, "skiff.example/final/cmd/skiff-oci"))
	assert.NilError(t, err)
	var of [2]seen
	thread.Run(func() { of, err = inWorld(runtimes, change, t.TempDir()) })
	if errors.Is(err, errNoPart) {
		testkit.Missing(t, err.Error())
	}
	assert.NilError(t, err)
	return of[0].differences(of[1])
}

// inWorld makes the bundle, and traces both.
func inWorld(runtimes []candidate, change func(*inC), dir string) (of [2]seen, err error) {
	if err := enterWorld(); err != nil {
		return of, err
	}
	b, err := newBundle(context.Background(), runtimes)
	if err != nil {
		return of, err
	}
	if b.inC == nil {
		return of, errNoPart
	}
	change(b.inC)
	if err := b.setProgram(succeed...); err != nil {
		return of, err
	}
	for i, c := range []candidate{runtimes[ours], staticC} {
		if of[i], err = b.trace(c, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return of, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return of, nil
}

// seen are the calls that strace saw a candidate make: of the container's process for
// each command that makes one, in order, and of each command itself.
type seen struct{ containers, commands map[string][]string }

// trace does everything once under strace. Before that, there has been a container.
func (b *bundle) trace(c candidate, dir string) (seen, error) {
	s := seen{map[string][]string{}, map[string][]string{}}
	id := b.newID()
	trace := func(name string, command ...string) *exec.Cmd {
		cmd := exec.Command("strace", append([]string{"-ff", "-y", "-v", "-s", "200", "-o", filepath.Join(dir, name)}, command...)...)
		cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = bundleDir, b.files[0], b.files[1], b.files[1]
		return cmd
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return s, err
	}
	// strace of create ends with the container.
	create := trace("create", c.command("create", id)...)
	if err := create.Start(); err != nil {
		return s, err
	}
	err := errors.Join(
		b.waitFor(filepath.Join(c.root, id, "start")),
		trace("start", c.command("start", id)...).Run(),
		create.Wait(),
		trace("delete", c.path, "delete", "--force", id).Run(),
		trace("run", c.command("run", id)...).Run())
	if err != nil {
		return s, errors.Join(err, b.said(), c.remove(id))
	}
	for _, name := range []string{"create", "start", "delete", "run"} {
		if err := s.read(c, id, dir, name); err != nil {
			return s, err
		}
	}
	id, undo, err := b.running(c)
	if err != nil {
		return s, err
	}
	if err = trace("exec", c.command("exec", id, succeed...)...).Run(); err != nil {
		err = errors.Join(err, b.said())
	}
	return s, errors.Join(err, undo(), s.read(c, id, dir, "exec"))
}

// running makes a container whose program waits.
func (b *bundle) running(c candidate) (id string, undo func() error, err error) {
	if err := b.setProgram(wait...); err != nil {
		return "", nil, err
	}
	id, undo, err = running(b, c)
	return id, undo, errors.Join(err, b.setProgram(succeed...))
}

// waitFor waits for a file.
func (b *bundle) waitFor(name string) error {
	for range 1000 {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s is not there after 10 seconds", name)
}

// said is what the commands have printed.
func (b *bundle) said() error {
	said, err := os.ReadFile(b.files[1].Name())
	return errors.Join(errors.New(string(said)), err)
}

// read reads the traces of a command and of its container: a file for each thread.
func (s *seen) read(c candidate, id, dir, name string) error {
	files, err := filepath.Glob(filepath.Join(dir, name+".*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		lines := withoutNames(c, id).Replace(string(text))
		switch {
		case strings.Contains(lines, "\nsetns("): // of exec: the next process goes on
			s.containers[name] = append(calls(lines), s.containers[name]...)
		case strings.Contains(lines, "\nexecve("):
			before, _, _ := strings.Cut(lines, "\nexecve(")
			s.containers[name] = append(s.containers[name], calls(before)...)
		case strings.HasPrefix(lines, "execve(") && strings.Contains(lines, "\nclone("):
			// Until it makes its second thread, a Go program's runtime starts, and does
			// nothing of what the program asks for.
			_, after, _ := strings.Cut(lines, "\nclone(")
			_, after, _ = strings.Cut(after, "\n")
			s.commands[name] = append(s.commands[name], calls(after)...)
		default:
			s.commands[name] = append(s.commands[name], calls(lines)...)
		}
	}
	return nil
}

// withoutNames replaces what is called differently.
func withoutNames(c candidate, id string) *strings.Replacer {
	return strings.NewReplacer(c.path, "PROGRAM", c.root, "STATE", "skiff-"+id, "GROUP", "static-"+id, "GROUP", id, "ID")
}

// calls are the calls of a trace, without what differs from process to process.
func calls(trace string) (all []string) {
	for line := range strings.Lines(trace) {
		line = strings.TrimSuffix(line, "\n")
		if noCall.MatchString(line) {
			continue
		}
		for _, v := range varying {
			line = v.pattern.ReplaceAllString(line, v.with)
		}
		all = append(all, withoutNumbers(line))
	}
	return all
}

// noCall matches signals, ends, and what was interrupted: to be done again, or for good.
var noCall = regexp.MustCompile(`^(---|\+\+\+|\?\?\?|exit_group)|= \? ERESTART|<unfinished \.\.\.>`)

// varying are what differs from process to process, beside numbers.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\s+= -1 (E\w+) .*$`), " → $1"},
	{regexp.MustCompile(`\)\s+= .*$`), ")"},
	{regexp.MustCompile(`0x[0-9a-f]{6,}`), "ADDRESS"},
	{regexp.MustCompile(`AT_FDCWD<[^>]*>`), "AT_FDCWD"},
	{regexp.MustCompile(`^(faccessat\(AT_FDCWD, "/sys/fs/cgroup/)[^/]*/GROUP`), "$1*/GROUP"}, // one is asked twice, and which one is chance
	{regexp.MustCompile(`\b\d+<`), "<"},
	{regexp.MustCompile(`<STATE/ID/start\.new>`), "<STATE/ID/start>"}, // it is renamed meanwhile
	{regexp.MustCompile(`<(pipe|socket|TCP|UDP|anon_inode):[^>]*>`), "<$1>"},
	{regexp.MustCompile(`^(\w*stat\w*|statx|capget)(\(.*?)\{.*\}`), "$1$2{}"},
	{regexp.MustCompile(`/proc/\d+/`), "/proc/PID/"},
	{regexp.MustCompile(`\|CLONE_SETTLS|, (stack|stack_size|tls)=\w+`), ""},  // a Go child has a stack of its own
	{regexp.MustCompile(` => \{.*\}`), ""},                                   // what clone3 returns beside the pid
	{regexp.MustCompile(`^(read|pread64|getdents64)(\(<[^>]*>).*`), "$1$2)"}, // as much as the buffer holds
	{regexp.MustCompile(`^(write\(<STATE[^>]*>).*`), "$1)"},                  // with times and pids
}

var number = regexp.MustCompile(`\b\d+\b`)

// withoutNumbers replaces the numbers that are not in quotes.
func withoutNumbers(line string) string {
	parts := strings.Split(line, `"`)
	for i := 0; i < len(parts); i += 2 {
		parts[i] = number.ReplaceAllString(parts[i], "N")
	}
	return strings.Join(parts, `"`)
}

// differences says in what the calls of skiff-oci are others than those in C.
func (skiff seen) differences(c seen) (all []string) {
	for _, name := range []string{"create", "run", "exec"} {
		all = append(all, inOrder(name, without(skiff.containers[name], lettingGo), c.containers[name])...)
	}
	for _, name := range []string{"create", "start", "delete", "run", "exec"} {
		ours := count(without(skiff.commands[name], onlySkiff, lettingGo))
		inC := count(without(c.commands[name], onlyC))
		for _, call := range slices.Sorted(maps.Keys(union(ours, inC))) {
			if ours[call] != inC[call] {
				all = append(all, fmt.Sprintf("%s: skiff-oci %d times, C %d: %s", name, ours[call], inC[call], call))
			}
		}
	}
	return all
}

// inOrder reports the first difference in what the container's process does.
func inOrder(name string, skiff, c []string) []string {
	for i := range max(len(skiff), len(c)) {
		if i >= len(skiff) || i >= len(c) || skiff[i] != c[i] {
			return []string{fmt.Sprintf("%s, the container: call %d of %d (skiff-oci) and %d (C) differs\nskiff: %s\nC:     %s", name,
				i+1, len(skiff), len(c), skiff[min(i, len(skiff)):min(i+1, len(skiff))], c[min(i, len(c)):min(i+1, len(c))])}
		}
	}
	return nil
}

// count counts calls. In how many pieces a file or a folder is read is the reader's affair.
func count(calls []string) map[string]int {
	counts := map[string]int{}
	for _, call := range calls {
		if counts[call] == 0 || !strings.HasPrefix(call, "read(") && !strings.HasPrefix(call, "getdents64(") {
			counts[call]++
		}
	}
	return counts
}

func union(a, b map[string]int) map[string]int {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// an exception is calls that only one of the two makes.
type exception struct {
	calls  string // a regular expression for how they begin
	most   int    // how many there may be in a command; 0: any number
	reason string
}

// without leaves out the exceptions.
func without(calls []string, tables ...[]exception) []string {
	for _, e := range slices.Concat(tables...) {
		pattern, left := regexp.MustCompile("^("+e.calls+")"), e.most
		calls = slices.DeleteFunc(slices.Clone(calls), func(call string) bool {
			if !pattern.MatchString(call) || e.most > 0 && left == 0 {
				return false
			}
			left--
			return true
		})
	}
	return calls
}

var onlySkiff = []exception{
	{`rt_sig|sigaltstack|sched_|futex|nanosleep|clone\(|gettid|getpid|tgkill|restart_syscall`, 0, "Go's threads; those signals that clone blocks are not told from them"},
	{`epoll_|eventfd2|fcntl`, 0, "Go's poller, which asks whether a descriptor can be waited for"},
	{`madvise|munmap|mprotect|mmap\(.*MAP_PRIVATE`, 0, "Go's memory, and that of the plan"},
	{`prlimit64\(N, RLIMIT_NOFILE, NULL`, 1, "package os raises the soft limit"},
	{`prlimit64\(N, RLIMIT_NOFILE, \{`, 1, "the caller's limit comes back: package shortlived"},
	{`prctl\(PR_[GS]ET_TIMERSLACK|\w+\((AT_FDCWD, "|<)/proc/\w+/(task|timerslack_ns)[">]`, 8, "sysmon is delayed, and a child is not: package shortlived"},
	{`newfstatat\(AT_FDCWD, "STATE/ID/(state\.json|start)", .*AT_SYMLINK_NOFOLLOW`, 2, "os.Rename looks whether the new name is a folder"},
	{`unlinkat\(AT_FDCWD, "STATE/ID/journal\.new", AT_REMOVEDIR`, 1, "os.Remove tries rmdir, too"},
}

// lettingGo is how the child lets go of its program (launch.Shed). In C it does not: it
// would need what it unmaps.
var lettingGo = []exception{
	{`capget`, 1, "may the child? container.Protect asks"},
	{`prctl\(PR_SET_MM|readlinkat\(AT_FDCWD, "/proc/self/exe"|memfd_create|mremap|munmap|close\(</memfd:`, 0, "the child does, with what the parent has made for it"},
}

var onlyC = []exception{
	{`execve|brk|arch_prctl|set_tid_address|set_robust_list|rseq|prlimit64\(N, RLIMIT_STACK|readlink\(|getrandom|mprotect`, 0, "libc starts"},
	{`rt_sigprocmask|munmap|getpid`, 0, "as above"},
}
