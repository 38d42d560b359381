package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"skiff.example/final/security/seccomp"
	"skiff.example/stage01-chroot/testkit"
)

// The commands that look at containers, and the forms in which others read what they
// print: runc's.

// twins is one bundle, run by runc and by skiff-oci under the same name.
func twins(t *testing.T) (b *bundle, both func(args ...string) (theirs, ours result)) {
	t.Helper()
	testkit.HostUnchangedAsInit(t)
	b = newBundle(t, program("sleep", "1000"), func(s *specs.Spec) { s.Annotations = map[string]string{"org.example": "yes"} })
	state := filepath.Join(t.TempDir(), "theirs")
	both = func(args ...string) (theirs, ours result) {
		t.Helper()
		theirs = b.finish(exec.Command("runc", append([]string{"--root", state}, args...)...))
		return theirs, b.do(args...)
	}
	t.Cleanup(func() { both("delete", "--force", b.id) })
	if theirs, ours := both("run", "--detach", "--bundle", b.dir, b.id); theirs.status != 0 || ours.status != 0 {
		t.Fatal(theirs.err, ours.err)
	}
	return b, both
}

// sameForm asserts that two JSON texts have the same fields of the same types in
// the same order, where theirs has a field.
func sameForm(t *testing.T, what, theirs, ours string) {
	t.Helper()
	their, our := fieldsOf(t, theirs), fieldsOf(t, ours)
	for name, kind := range their {
		if our[name] != kind {
			t.Errorf("%s: %s is %q, want %q", what, name, our[name], kind)
		}
	}
}

// fieldsOf are the fields of a JSON text with their types.
func fieldsOf(t *testing.T, text string) map[string]string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	all := map[string]string{}
	var visit func(name string, v any)
	visit = func(name string, v any) {
		all[name] = fmt.Sprintf("%T", v)
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				visit(name+"."+key, value)
			}
		case []any:
			if len(v) > 0 {
				visit(name+"[]", v[0])
			}
		}
	}
	visit("", v)
	return all
}

func TestStateAndListHaveTheFormOfRunc(t *testing.T) {
	b, both := twins(t)
	theirs, ours := both("state", b.id)
	sameForm(t, "state", theirs.out, ours.out)
	theirs, ours = both("list", "--format", "json")
	sameForm(t, "list", theirs.out, ours.out)
	if strings.Count(ours.out, "\n") != 1 || !strings.Contains(ours.out, `"owner":"root"`) || !strings.Contains(ours.out, `"org.example":"yes"`) {
		t.Errorf("list: %s", ours.out)
	}
	theirs, ours = both("list", "-q")
	if ours.out != theirs.out {
		t.Errorf("list -q: %q, want %q", ours.out, theirs.out)
	}
	theirs, ours = both("list")
	columns := func(text string) []string { return strings.Fields(strings.SplitN(text, "\n", 2)[0]) }
	if !slices.Equal(columns(ours.out), columns(theirs.out)) || len(strings.Fields(ours.out)) != len(strings.Fields(theirs.out)) {
		t.Errorf("list:\n%swant\n%s", ours.out, theirs.out)
	}
	for _, line := range []int{0, 1} { // each column begins where runc has it
		if i, j := strings.Index(strings.Split(ours.out, "\n")[line], "  "), strings.Index(strings.Split(theirs.out, "\n")[line], "  "); i != j {
			t.Errorf("list: the first column ends at %d, want %d", i, j)
		}
	}
}

// list is sorted, says who made a container, and goes on after one that cannot be
// read.
func TestListShowsAllThatItCan(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"))
	for _, id := range []string{"zebra", "ant", "mouse"} {
		b.succeed("create", "--bundle", b.dir, id)
	}
	b.must(os.Chown(filepath.Join(b.state, "mouse"), 3000000, 0))
	b.must(os.Mkdir(filepath.Join(b.state, "making"), 0o700))
	if got := b.succeed("list", "--quiet"); got != "ant\nmouse\nzebra\n" {
		t.Errorf("got %q", got)
	}
	if got := b.succeed("list"); !strings.Contains(got, "#3000000") {
		t.Errorf("no owner in\n%s", got)
	}
	b.must(os.Remove(filepath.Join(b.state, "making")))
	file := filepath.Join(b.state, "ant", "state.json")
	text := b.read(file)
	b.must(os.WriteFile(file, []byte("{"), 0o600))
	if r := b.do("list", "-q"); r.status != 1 || r.out != "mouse\nzebra\n" || !strings.Contains(r.err, file) {
		t.Errorf("status %d, printed %s%s", r.status, r.out, r.err)
	}
	b.must(os.WriteFile(file, []byte(text), 0o600))
	if r := b.do("list", "--format", "yaml"); r.status != 1 || !strings.Contains(r.err, "want table or json") {
		t.Errorf("status %d, %s", r.status, r.err)
	}
	for _, id := range []string{"zebra", "ant", "mouse"} {
		b.succeed("delete", id)
	}
	b.wantNothing()
}

func TestPsHasTheFormOfRunc(t *testing.T) {
	b, both := twins(t)
	for _, options := range [][]string{nil, {"-o", "pid,comm"}, {"aux"}} {
		theirs, ours := both(append([]string{"ps", b.id}, options...)...)
		if their, our := strings.Split(theirs.out, "\n"), strings.Split(ours.out, "\n"); len(our) != len(their) || our[0] != their[0] || !strings.Contains(our[1], "sleep") {
			t.Errorf("ps %v:\n%swant\n%s", options, ours.out, theirs.out)
		}
	}
	if got, want := b.succeed("ps", "-f", "json", b.id), fmt.Sprintf("[%d]\n", b.pid(b.id)); got != want {
		t.Errorf("ps -f json: %q, want %q", got, want)
	}
	if r := b.do("ps", b.id, "-o", "comm"); r.status != 1 || !strings.Contains(r.err, "no column PID") {
		t.Errorf("status %d, %s", r.status, r.err)
	}
}

func TestEventsHaveTheFormOfRunc(t *testing.T) {
	b, both := twins(t)
	theirs, ours := both("events", "--stats", b.id)
	their, our := fieldsOf(t, theirs.out), fieldsOf(t, ours.out)
	for name, kind := range their {
		// What runc takes from files that package cgroup does not read: the flags of
		// cpusets, and how the two kinds of time are spread over the processors.
		if strings.HasPrefix(name, ".data.cpuset.") && name != ".data.cpuset.cpus" && name != ".data.cpuset.mems" || strings.Contains(name, "percpu_") ||
			strings.HasSuffix(name, ".max") && (strings.Contains(name, "swap") || strings.Contains(name, "kernel")) {
			continue
		}
		if our[name] != kind {
			t.Errorf("%s is %q, want %q", name, our[name], kind)
		}
	}
}

// events goes on until the container has stopped, and tells when its memory was used
// up.
func TestEventsTellWhenMemoryIsUsedUp(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"), memoryLimit(32<<20))
	b.launch()
	r := b.start(`"type":"stats"`, "events", "--interval", "20ms", b.id)
	hog := b.do("exec", b.id, "sh", "-c", "exec busybox tail /dev/zero")
	if hog.status != 137 {
		t.Errorf("the hog ended with %d: %s", hog.status, hog.err)
	}
	b.eventually("events says it", func() bool { return strings.Contains(b.read(r.log), `{"type":"oom","id":"box"}`) })
	b.succeed("kill", b.id, "KILL")
	if status, said := r.end(); status != 0 {
		t.Errorf("events ended with %d: %s", status, said)
	}
	if r := b.do("events", "--stats", b.id); r.status != 1 || !strings.Contains(r.err, "is stopped") {
		t.Errorf("of a stopped container: status %d, %s", r.status, r.err)
	}
	b.end()
}

// features has all that runc has, in the types of the specification; what it names,
// the packages that do it know.
func TestMust33FeaturesNameWhatIsKnown(t *testing.T) {
	testkit.Need(t, "runc")
	b := newBundle(t)
	var ours, theirs features.Features
	decoder := json.NewDecoder(bytes.NewBufferString(b.succeed("features")))
	decoder.DisallowUnknownFields()
	b.must(decoder.Decode(&ours))
	out, err := exec.Command("runc", "features").Output()
	b.must(err)
	b.must(json.Unmarshal(out, &theirs))
	// The kernel has no more x32-like MIPS and no 31-bit s390 that anybody builds for.
	untold := []string{"SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_S390"}
	for what, lists := range map[string][2][]string{
		"hooks":      {theirs.Hooks, ours.Hooks},
		"mounts":     {slices.DeleteFunc(theirs.MountOptions, func(o string) bool { return o == "acl" || o == "noacl" }), ours.MountOptions},
		"namespaces": {theirs.Linux.Namespaces, ours.Linux.Namespaces},
		"rights":     {theirs.Linux.Capabilities, ours.Linux.Capabilities},
		"actions":    {theirs.Linux.Seccomp.Actions, ours.Linux.Seccomp.Actions},
		"operators":  {theirs.Linux.Seccomp.Operators, ours.Linux.Seccomp.Operators},
		"archs":      {slices.DeleteFunc(theirs.Linux.Seccomp.Archs, func(a string) bool { return slices.Contains(untold, a) }), ours.Linux.Seccomp.Archs},
	} {
		for _, name := range lists[0] {
			if !slices.Contains(lists[1], name) {
				t.Errorf("%s: no %s", what, name)
			}
		}
	}
	if ours.OCIVersionMax != specs.Version || !*ours.Linux.Cgroup.V2 || *ours.Linux.Cgroup.Systemd || !*ours.Linux.MountExtensions.IDMap.Enabled {
		t.Errorf("features: %+v", ours)
	}
	for _, arch := range ours.Linux.Seccomp.Archs {
		profile := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.Arch(arch)}}
		for _, action := range ours.Linux.Seccomp.Actions {
			if action != "SCMP_ACT_NOTIFY" { // it takes somebody to notify
				profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{Names: []string{"getpid"}, Action: specs.LinuxSeccompAction(action)})
			}
		}
		for _, flag := range ours.Linux.Seccomp.KnownFlags {
			profile.Flags = append(profile.Flags, specs.LinuxSeccompFlag(flag))
		}
		if _, _, err := seccomp.Compile(profile); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
	}
}

// The log is what engines read: a JSON object a line, the error last.
func TestTheLogIsOneThatEnginesRead(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("true"))
	log := filepath.Join(t.TempDir(), "log")
	type line struct{ Level, Msg, Time string }
	logged := func(args ...string) (all []line) {
		t.Helper()
		_ = os.Remove(log) // the first time there is none
		b.do(append([]string{"--log", log, "--log-format", "json"}, args...)...)
		decoder := json.NewDecoder(strings.NewReader(b.read(log)))
		for decoder.More() {
			var l line
			b.must(decoder.Decode(&l))
			all = append(all, l)
		}
		return all
	}
	got := logged("exec", "nobody", "true")
	if len(got) != 1 || got[0].Level != "error" || got[0].Msg != `exec: container "nobody": does not exist` || got[0].Time == "" {
		t.Errorf("got %+v", got)
	}
	b.edit(program("nonesuch"), func(s *specs.Spec) { s.Process.Capabilities.Bounding = []string{"CAP_DREAM"} })
	got = logged("--debug", "run", "--bundle", b.dir, b.id)
	levels := make([]string, 0, 3)
	for _, l := range got {
		levels = append(levels, l.Level)
	}
	last := got[len(got)-1].Msg
	if !slices.Equal(levels, []string{"debug", "warning", "error"}) || !strings.Contains(last, "no such file or directory (step") ||
		!strings.Contains(last, "(hint: no directory of PATH has it") {
		t.Errorf("got %+v", got)
	}
	_ = os.Remove(log)
	b.do("--log", log, "state", "nobody")
	if got := testkit.Normalize(b.read(log)); got != `time="TIME" level=error msg="container \"nobody\": does not exist"`+"\n" {
		t.Errorf("text: %s", got)
	}
}

func TestWhatTheGlobalFlagsSay(t *testing.T) {
	b := newBundle(t)
	for want, args := range map[string][]string{
		`--log-format "xml": want text or json`:            {"--log-format", "xml", "list"},
		`--rootless "perhaps": want true, false or auto`:   {"--rootless", "perhaps", "list"},
		"tell the engine to use the cgroupfs driver":       {"--systemd-cgroup", "list"},
		"the flags are listed by: skiff-oci state --help":  {"state", "--nonesuch", "box"},
		"state: got 2 arguments, want the id of a contain": {"state", "a", "b"},
		`container "help": does not exist`:                 {"state", "help"},
		"write the log: open /nowhere/log":                 {"--log", "/nowhere/log", "state", "box"},
	} {
		r := b.do(args...)
		if r.status != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%v: status %d, no %q in %s", args, r.status, want, r.err)
		}
	}
	for _, args := range [][]string{{"dance"}, {"dance", "--help"}, {"help", "dance"}, {"--help", "dance"}} {
		if r := b.do(args...); r.status != 3 || !strings.Contains(r.err, `unknown command "dance"`) { // as in runc
			t.Errorf("%v: status %d: %s", args, r.status, r.err)
		}
	}
	if out := b.succeed("--version"); !strings.HasPrefix(out, "skiff-oci version ") || !strings.Contains(out, "\nspec: "+specs.Version+"\n") {
		t.Errorf("--version: %s", out)
	}
	if out := b.succeed("--rootless", "false", "--debug", "list", "-q"); out != "" {
		t.Errorf("list: %s", out)
	}
	help := b.succeed("--help")
	commands := maps.Keys(map[string]bool{
		"create": true, "start": true, "state": true, "kill": true, "delete": true, "run": true, "exec": true, "list": true, "ps": true,
		"pause": true, "resume": true, "update": true, "events": true, "spec": true, "features": true,
	})
	for name := range commands {
		if !strings.Contains(help, "   "+name+" ") {
			t.Errorf("no %s in the help", name)
		}
	}
}

// A thousand states are listed with two files each, which several threads read: no look at all mounts, all groups,
// or the configuration.
func TestListOpensFewFiles(t *testing.T) {
	testkit.Root(t)
	testkit.Need(t, "strace")
	b := newBundle(t)
	const many = 50
	for i := range many {
		id := fmt.Sprintf("box-%03d", i)
		b.must(os.MkdirAll(filepath.Join(b.state, id), 0o700))
		state := fmt.Sprintf(`{"ociVersion": "1.3.0", "id": %q, "pid": 1, "startTime": 1}`, id)
		b.must(os.WriteFile(filepath.Join(b.state, id, "state.json"), []byte(state), 0o600))
	}
	t.Cleanup(func() { b.must(os.RemoveAll(b.state)) })
	trace := filepath.Join(t.TempDir(), "trace")
	list := b.command("list", "-q")
	cmd := exec.Command("strace", append([]string{"-f", "-o", trace, "-e", "trace=openat,open,openat2", "-e", "signal=none"}, list.Args...)...)
	if out, err := cmd.Output(); err != nil || bytes.Count(out, []byte("\n")) != many {
		t.Fatalf("%v: %s", err, out)
	}
	text := b.read(trace)
	if opens := strings.Count(text, "openat("); opens > 2*many+20 || strings.Contains(text, "config.json") {
		t.Errorf("%d files are opened for %d containers, these first:\n%.2000s", opens, many, text)
	}
}
