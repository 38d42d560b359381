package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// Hooks: runtime-spec config.md, "POSIX-platform Hooks", and runtime.md,
// "Lifecycle". The hooks here are shells that write down what they see; those of
// startContainer are the container's own, and write to the same file from inside.

// hookKinds are the kinds in the order of the life cycle.
var hookKinds = []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

// withHooks adds hooks of one kind to a configuration.
func withHooks(kind string, hooks ...specs.Hook) func(*specs.Spec) {
	return func(s *specs.Spec) {
		if s.Hooks == nil {
			s.Hooks = &specs.Hooks{}
		}
		h := s.Hooks
		//lint:ignore SA1019 prestart is deprecated, and in use
		lists := []*[]specs.Hook{&h.Prestart, &h.CreateRuntime, &h.CreateContainer, &h.StartContainer, &h.Poststart, &h.Poststop}
		list := lists[slices.Index(hookKinds, kind)]
		*list = append(*list, hooks...)
	}
}

// shell is a hook that runs a script, on the host or in the container.
func shell(script string, args ...string) specs.Hook {
	return specs.Hook{Path: "/bin/sh", Args: append([]string{"sh", "-c", script}, args...)}
}

// logOf is the file that all hooks of a bundle append to, as a hook of this kind
// finds it.
func (b *bundle) logOf(kind string) string {
	if kind == "startContainer" {
		return "/log"
	}
	return b.path("log")
}

// saying is a hook that appends a word to the log.
func (b *bundle) saying(kind, word string) specs.Hook {
	return shell(`echo "$1" >> "$0"`, b.logOf(kind), word)
}

// said are the lines of the log.
func (b *bundle) said() []string {
	b.Helper()
	text, err := os.ReadFile(b.path("log"))
	if os.IsNotExist(err) {
		return nil
	}
	b.must(err)
	return strings.Fields(string(text))
}

// A sight is what a hook has written down: a line of words, and the state.
type sight struct {
	kind, cwd, mnt, pid, net, cgroup string
	state                            specs.State
}

// look is the script of a hook that writes a sight.
const look = `n() { busybox readlink /proc/self/ns/$1; }
g=$(busybox grep :pids: /proc/self/cgroup); state=$(cat)
echo "$1 $(pwd) $(n mnt) $(n pid) $(n net) ${g##*:} $state" >> "$0"`

// sights reads the log.
func (b *bundle) sights() (all []sight) {
	b.Helper()
	for line := range strings.Lines(b.read(b.path("log"))) {
		words := strings.SplitN(line, " ", 7)
		s := sight{words[0], words[1], words[2], words[3], words[4], words[5], specs.State{}}
		if len(words) == 7 && len(words[6]) > 1 {
			b.must(json.Unmarshal([]byte(words[6]), &s.state))
		}
		all = append(all, s)
	}
	return all
}

// lookingHooks gives a configuration one hook of each kind, and a program, that
// look.
func lookingHooks(b *bundle) func(*specs.Spec) {
	return func(s *specs.Spec) {
		for _, kind := range hookKinds {
			withHooks(kind, shell(look, b.logOf(kind), kind))(s)
		}
		program("sh", "-c", look, "/log", "program")(s)
		writable(s)
		s.Annotations = map[string]string{"com.example.key": "value", "empty": ""}
	}
}

// Oci-musts 3, 4, 5 and 7: order, namespaces, status, and the pid as seen there.
func TestMust3And4EachHookRunsWhenAndWhereItShould(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t)
	b.edit(lookingHooks(b))
	b.succeed("create", "--bundle", b.dir, "box")
	var state specs.State
	b.must(json.Unmarshal([]byte(b.succeed("state", "box")), &state))
	if got := len(b.sights()); got != 3 {
		t.Errorf("%d hooks belong to create, want 3", got)
	}
	b.succeed("start", "box")
	b.eventually("it has stopped", func() bool { return b.status("box") == specs.StateStopped })
	b.succeed("delete", "box")

	all := b.sights()
	inside := all[slices.IndexFunc(all, func(s sight) bool { return s.kind == "program" })]
	host := namespacesOf(b)
	var seen strings.Builder
	for _, s := range all {
		where := "host"
		if s.pid == inside.pid && s.net == inside.net && s.mnt == inside.mnt && s.cgroup == inside.cgroup {
			where = "container"
		} else if s.pid != host["pid"] || s.net != host["net"] || s.mnt != host["mnt"] {
			t.Errorf("%s: neither in the container nor on the host: %+v", s.kind, s)
		}
		pid := fmt.Sprint(s.state.Pid)
		if s.state.Pid == state.Pid {
			pid = "PID"
		}
		cwd := strings.ReplaceAll(s.cwd, b.dir, "BUNDLE")
		fmt.Fprintf(&seen, "%s: in %s, cwd %s, status %q, pid %s\n", s.kind, where, cwd, s.state.Status, pid)
		if s.kind != "program" && (s.state.ID != "box" || s.state.Bundle != b.dir || s.state.Annotations["com.example.key"] != "value" ||
			len(s.state.Annotations) != 2 || s.state.Version != specs.Version) {
			t.Errorf("%s: state %+v", s.kind, s.state)
		}
	}
	testkit.Golden(t, order(seen.String()), "hooks.golden")
	b.wantNothing()
}

// order puts poststart before the program: both run at the same time.
func order(text string) string {
	lines := strings.SplitAfter(text, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "poststart:") })
	j := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "program:") })
	if j >= 0 && j < i {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return strings.Join(lines, "")
}

// namespacesOf are the namespaces of this process.
func namespacesOf(b *bundle) map[string]string {
	b.Helper()
	all := map[string]string{}
	for _, kind := range []string{"pid", "net", "mnt"} {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		b.must(err)
		all[kind] = link
	}
	return all
}

// Hooks of one kind run in the order of the list, each when the one before has
// ended; and run has the same hooks as create and start.
func TestMust8HooksRunOneAfterAnother(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, writable, program("sh", "-c", "sleep 0.1; echo program >> /log"))
	var want []string
	for _, kind := range hookKinds {
		slow := shell(`sleep 0.05; echo "$1" >> "$0"`, b.logOf(kind), kind+"1")
		b.edit(withHooks(kind, slow, b.saying(kind, kind+"2")))
		want = append(want, kind+"1", kind+"2")
	}
	b.succeed("run", "--bundle", b.dir, "box")
	want = slices.Insert(want, slices.Index(want, "poststop1"), "program")
	got := b.said()
	got = append(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s == "program" }), "program")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if first := b.said(); !slices.IsSortedFunc(slices.DeleteFunc(first, func(s string) bool { return s == "program" }), byLife) {
		t.Errorf("in this order: %v", first)
	}
	b.wantNothing()
}

// byLife compares two words of the log by when they should have been said.
func byLife(a, b string) int {
	at := func(s string) int {
		return slices.IndexFunc(hookKinds, func(k string) bool { return strings.HasPrefix(s, k) })*10 + int(s[len(s)-1])
	}
	return at(a) - at(b)
}

// What others do with the same bundle is the same, where they agree: which hooks
// run, in which order, where, and in which directory those before start do.
func TestHooksAreThoseOfRunc(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	b.edit(lookingHooks(b), func(s *specs.Spec) { s.Hooks.CreateContainer[0].Args[2] = look })
	place := func(s sight) string {
		own := "host"
		if s.pid != namespacesOf(b)["pid"] {
			own = "container"
		}
		if s.kind == "poststart" || s.kind == "program" { // at the same time
			return ""
		}
		return s.kind + " " + own + " " + s.cwd + " " + fmt.Sprint(s.state.Pid == 1)
	}
	var each [][]string
	for _, run := range []func(){
		func() { b.succeed("run", "--bundle", b.dir, "box") },
		func() { b.runc() },
	} {
		run()
		var all []string
		for _, s := range b.sights() {
			if p := place(s); p != "" {
				all = append(all, p)
			}
		}
		each = append(each, all)
		b.must(os.Remove(b.path("log")))
	}
	if !slices.Equal(each[0], each[1]) {
		t.Errorf("skiff-oci: %q\nrunc:      %q", each[0], each[1])
	}
}

// runc runs the bundle with runc.
func (b *bundle) runc() {
	b.Helper()
	cmd := exec.Command("runc", "--root", filepath.Join(b.TempDir(), "runc"), "run", "--bundle", b.dir, "skiff-test-runc")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("runc: %v\n%s", err, out)
	}
}

// CVE-2025-23266: neither the image's environment nor the caller's reaches a hook.
func TestAHookHasOnlyItsOwnEnvironment(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("true"), writable, func(s *specs.Spec) {
		s.Process.Env = append(s.Process.Env, "LD_PRELOAD=/evil.so", "FROM=image")
	})
	outside := t.TempDir()
	for _, kind := range hookKinds {
		copy := specs.Hook{Path: "/bin/cp", Args: []string{"cp", "/proc/self/environ", filepath.Join(outside, kind)}, Env: []string{"ONLY=this"}}
		if kind == "startContainer" {
			copy.Path, copy.Args = "/bin/busybox", []string{"busybox", "cp", "/proc/self/environ", "/environ"}
		}
		b.edit(withHooks(kind, copy))
	}
	cmd := b.command("run", "--bundle", b.dir, "box")
	cmd.Env = append(os.Environ(), "FROM=caller")
	if r := b.finish(cmd); r.status != 0 || r.err != "" {
		t.Fatalf("status %d: %s", r.status, r.err)
	}
	for _, kind := range hookKinds {
		file := filepath.Join(outside, kind)
		if kind == "startContainer" {
			file = b.path("environ")
		}
		if got := b.read(file); got != "ONLY=this\x00" {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

// Oci-must 6: the first five kinds are fatal. What the hook says is in the error,
// the container is gone, and the hooks of poststop have run, once.
func TestMust6AHookThatFailsEndsTheContainer(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	var said strings.Builder
	for _, kind := range hookKinds[:5] {
		for _, commands := range [][]string{{"run"}, {"create", "start"}} {
			b := newBundle(t, writable, program("sh", "-c", "sleep 100"))
			pidFile := filepath.Join(t.TempDir(), "pid")
			b.edit(
				withHooks(kind, b.saying(kind, "first"), shell("echo to stdout; echo to stderr >&2; exit 3"), b.saying(kind, "never")),
				withHooks("poststop", b.saying("poststop", "poststop")))
			var failed result
			for _, command := range commands {
				args := []string{command, "box"}
				if command != "start" {
					args = []string{command, "--bundle", b.dir, "--pid-file", pidFile, "box"}
				}
				if failed = b.do(args...); failed.status != 0 {
					break
				}
			}
			fmt.Fprintf(&said, "# %s, %s\n%s", kind, strings.Join(commands, " and "), failed.err)
			if failed.status != 1 {
				t.Errorf("%s: status %d, want 1", kind, failed.status)
			}
			if got := b.said(); !slices.Equal(got, []string{"first", "poststop"}) {
				t.Errorf("%s, %v: these hooks ran: %q", kind, commands, got)
			}
			if _, err := os.Stat(pidFile); err == nil && len(commands) == 2 && kind != "startContainer" && kind != "poststart" {
				t.Errorf("%s: there is a pid file of no process", kind)
			}
			b.wantNothing()
		}
	}
	testkit.Golden(t, said.String(), "hookfails.golden")
}

// A poststop hook that fails is a warning; the rest run, and the container is gone.
func TestAPoststopHookThatFailsIsAWarning(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, writable, program("true"))
	b.edit(withHooks("poststop", shell("echo no luck >&2; false"), specs.Hook{Path: "/nonesuch"}, b.saying("poststop", "third")))
	const want = `warning: poststop hook 1 of 3, "/bin/sh": exit status 1: no luck
warning: poststop hook 2 of 3, "/nonesuch": execute "/nonesuch": no such file or directory`
	check := func(r result) {
		t.Helper()
		if r.status != 0 || !strings.HasPrefix(r.err, want) || !slices.Equal(b.said(), []string{"third"}) {
			t.Errorf("status %d, hooks %q: %s", r.status, b.said(), r.err)
		}
		b.must(os.Remove(b.path("log")))
		b.wantNothing()
	}
	check(b.do("run", "--bundle", b.dir, "box"))
	b.succeed("create", "--bundle", b.dir, "box")
	check(b.do("delete", "box"))
}

// Oci-must 8: past its timeout a hook is killed, with what it has started.
func TestAHookIsKilledPastItsTimeout(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	second := 1
	for _, kind := range []string{"createRuntime", "createContainer", "startContainer"} {
		b := newBundle(t, program("true"))
		slow := shell("echo still here; sleep 100 & sleep 100")
		slow.Timeout = &second
		b.edit(withHooks(kind, slow))
		began := time.Now()
		got := b.do("run", "--bundle", b.dir, "box")
		if took := time.Since(began); took < time.Second || took > 5*time.Second {
			t.Errorf("%s: it took %v", kind, took)
		}
		want := fmt.Sprintf("skiff-oci: %s hook 1 of 1, \"/bin/sh\": killed, it took longer than its timeout of 1 s: still here\n", kind)
		if got.status != 1 || got.err != want {
			t.Errorf("status %d: %s", got.status, got.err)
		}
		b.wantNothing()
	}
}

// Oci-must 7: a hook need not read its stdin, however long the state is; and who
// reads it gets all.
func TestMust7AHookNeedNotReadTheState(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("true"), writable)
	long := strings.Repeat("x", 300_000)
	for _, kind := range hookKinds {
		b.edit(withHooks(kind, shell("exec true"), shell(`cat > "$0"`, b.logOf(kind)+kind)))
	}
	b.edit(func(s *specs.Spec) { s.Annotations = map[string]string{"long": long} })
	b.succeed("run", "--bundle", b.dir, "box")
	for _, kind := range hookKinds {
		var state specs.State
		b.must(json.Unmarshal([]byte(b.read(b.path("log"+kind))), &state))
		if state.Annotations["long"] != long {
			t.Errorf("%s: the state came with %d of %d bytes", kind, len(state.Annotations["long"]), len(long))
		}
	}
}

// Oci-must 8: what cannot be is an error before anything is made.
func TestHooksThatCannotBe(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, c := range []struct {
		path    string
		timeout *int
		want    string
	}{
		{"bin/true", nil, `hooks: path "bin/true" is not absolute`},
		{"", nil, `hooks: path "" is not absolute`},
		{"/bin/true", new(int), `hooks: "/bin/true": timeout 0 is not above 0`},
	} {
		for _, kind := range hookKinds {
			b := newBundle(t, program("true"), withHooks(kind, specs.Hook{Path: c.path, Timeout: c.timeout}))
			if got := b.do("run", "--bundle", b.dir, "box"); got.status != 1 || !strings.Contains(got.err, c.want) {
				t.Errorf("%s: status %d: %s; want %s", kind, got.status, got.err, c.want)
			}
			b.wantNothing()
		}
	}
}

// What a createContainer hook mounts, the program sees: the hook runs in the
// container's mounts, with the host's files, before the root is changed. The host
// does not see it.
func TestACreateContainerHookCanMount(t *testing.T) {
	testkit.HostUnchanged(t)
	shown := t.TempDir()
	b := newBundle(t, program("sh", "-c", "cat /made/word; cat /made/ro 2>/dev/null; true"))
	b.must(os.WriteFile(filepath.Join(shown, "word"), []byte("from the host\n"), 0o644))
	b.edit(withHooks("createContainer", shell(`mkdir made && mount --bind "$0" made`, shown)))
	if got := b.succeed("run", "--bundle", b.dir, "box"); got != "from the host\n" {
		t.Errorf("the program sees %q", got)
	}
}

// A hook of the container has the rights of its program, as with runc and crun,
// and no more: it is the image's code.
func TestAStartContainerHookHasTheProgramsRights(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, writable, func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{7}}
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 100}}
		s.Linux.Seccomp = &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchAARCH64},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"reboot"}, Action: specs.ActErrno}},
		}
	})
	b.addProbe()
	b.must(os.Mkdir(b.path("out"), 0o777))
	b.must(os.Chmod(b.path("out"), 0o777))
	const report = `exec /probe ids capabilities security rlimits umask descriptors cwd > /out/$0`
	hook := shell(report, "hook")
	b.edit(withHooks("startContainer", hook), program("sh", "-c", report+` < /dev/null 2>&1`, "program"))
	cmd := b.command("run", "--bundle", b.dir, "box")
	if r := b.finish(cmd); r.status != 0 || r.err != "" {
		t.Fatalf("status %d: %s", r.status, r.err)
	}
	facts := func(name string) string {
		var kept []string
		for line := range strings.Lines(b.read(b.path("out/" + name))) {
			if !strings.HasPrefix(line, "descriptor") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	if hook, program := facts("hook"), facts("program"); hook != program || !strings.Contains(hook, "1000") {
		t.Errorf("the hook:\n%s\nthe program:\n%s", hook, program)
	}
	for _, name := range []string{"hook", "program"} {
		if n := strings.Count(b.read(b.path("out/"+name)), "descriptor "); n > 4 { // 0-2, and the folder that is being read
			t.Errorf("the %s has descriptors of others:\n%s", name, b.read(b.path("out/"+name)))
		}
	}
}

// With a user namespace, hooks inside are its root, or its user, and those of the
// host are the host's.
func TestHooksWithAUserNamespace(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, ownUsers, writable, program("true"))
	b.reachable()
	b.must(os.WriteFile(b.path("log"), nil, 0o666))
	b.must(os.Chmod(b.path("log"), 0o666))
	for _, kind := range hookKinds {
		b.edit(withHooks(kind, shell(`u=$(busybox grep ^Uid: /proc/self/status | busybox cut -f 2); while read in out rest; do break; done < /proc/self/uid_map; echo $1:$u:$out >> $0`, b.logOf(kind), kind)))
	}
	b.succeed("run", "--bundle", b.dir, "box")
	want := []string{"prestart:0:0", "createRuntime:0:0", "createContainer:0:100000", "startContainer:0:100000", "poststart:0:0", "poststop:0:0"}
	got := b.said()
	for i, s := range got {
		if strings.HasPrefix(s, "createContainer:100000:") { // the host's /proc shows the host's number
			got[i] = strings.Replace(s, ":100000:", ":0:", 1)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What commands say of the container while hooks run.
func TestAContainerIsNotCreatedBeforeItsHooksHaveRun(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, writable, program("true"))
	ask := shell(`for c in "state box" "start box" "kill box" "exec box true"; do "$0" --root "$1" $c; done >> "$2" 2>&1; true`,
		b.command().Path, b.state, b.path("log"))
	b.edit(withHooks("createRuntime", ask), withHooks("poststop", ask))
	b.succeed("create", "--bundle", b.dir, "box")
	if got := b.read(b.path("log")); !strings.Contains(got, `"status": "creating"`) ||
		!strings.Contains(got, "it is creating, not created") || strings.Count(got, "it is still being created") != 2 {
		t.Errorf("during create:\n%s", got)
	}
	b.must(os.Remove(b.path("log")))
	b.succeed("delete", "box")
	if got := b.read(b.path("log")); strings.Count(got, `container "box": does not exist`) != 4 {
		t.Errorf("during delete:\n%s", got)
	}
}

// Oci-must 5: poststart comes after the program has begun, and start waits for it.
func TestMust5PoststartComesAfterTheExec(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, writable, program("sleep", "100"))
	b.edit(withHooks("poststart", shell(`s=$(cat); s=${s#*\"pid\":}; busybox readlink /proc/${s%%,*}/exe > "$0"; sleep 0.3; echo done >> "$0"`, b.path("log"))))
	b.succeed("create", "--bundle", b.dir, "box")
	b.succeed("start", "box")
	if got := b.said(); !slices.Equal(got, []string{"/bin/busybox", "done"}) {
		t.Errorf("got %q", got)
	}
	b.succeed("delete", "--force", "box")
}

// Hooks that were killed in the middle: poststop still runs with the next delete.
func TestPoststopRunsAfterAKilledDelete(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, writable, program("true"))
	b.edit(withHooks("poststop", shell(`echo once >> "$0"; test -e "$1" || { : > "$1"; exec sleep 100; }`, b.path("log"), b.path("slept"))))
	b.succeed("create", "--bundle", b.dir, "box")
	r := b.startCommand("delete", "box")
	b.eventually("the hook runs", func() bool { return len(b.said()) == 1 })
	b.must(r.Process.Kill())
	_ = r.Wait()
	if got := b.do("state", "box"); got.status != 1 {
		t.Errorf("it is still there: %s", got.out)
	}
	b.succeed("delete", "--force", "box")
	if got := b.said(); len(got) != 2 {
		t.Errorf("the hook ran %d times, want 2", len(got))
	}
	b.wantNothing()
}

// startCommand starts skiff-oci and does not wait for its end.
func (b *bundle) startCommand(args ...string) *exec.Cmd {
	b.Helper()
	cmd := b.command(args...)
	b.must(cmd.Start())
	return cmd
}

// An ordinary user has all six kinds as well: the namespaces are his.
func TestHooksOfAnOrdinaryUser(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	b.must(os.Remove(b.config()))
	b.must(os.Chown(b.dir, nobody, nobody))
	b.reachable()
	b.must(os.Chown(b.path("."), nobody, nobody))
	if r := b.finish(b.asNobody("spec", "--rootless", "--bundle", b.dir)); r.status != 0 {
		t.Fatal(r.err)
	}
	b.edit(program("true"), writable)
	for _, kind := range hookKinds {
		b.edit(withHooks(kind, shell(`echo "$1:$(busybox id -u)" >> "$0"`, b.logOf(kind), kind)))
	}
	if r := b.finish(b.asNobody("run", "--bundle", b.dir, b.id)); r.status != 0 || r.err != "" {
		t.Fatalf("status %d: %s", r.status, r.err)
	}
	want := []string{"prestart:65534", "createRuntime:65534", "createContainer:0", "startContainer:0", "poststart:65534", "poststop:65534"}
	if got := b.said(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
