package oci_test

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/namespace"
)

// Fuzzing changes valid configurations here and there, and hands them in. What comes
// of it is a plan or an error that says something: never a panic, nothing that stays
// open, no more memory than such a text is worth. An ordinary test run tries what is in
// testdata/fuzz; to look for more,
//
//	go test -run=- -fuzz=FuzzConfig -fuzzminimizetime=1s ./oci

// words are texts that edits put in, to begin with.
var words = []string{"", "x", "/dev/null", "rro", "CAP_SYS_ADMIN", "SCMP_ACT_NOTIFY", "user", "idmap", "tmpcopyup", "nofile=1:1", `[["a"]]`, `{"path":"/x"}`, "1.0"}

// addEdits gives the fuzzing random edits to begin with, the same each time.
func addEdits(f *testing.F, n int) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		edits := make([]byte, 4*(i%8))
		for j := range edits {
			edits[j] = byte(random.Uint32())
		}
		f.Add(edits, words[random.IntN(len(words))])
	}
}

// FuzzConfig changes config.json. See mutate for edits and word.
func FuzzConfig(f *testing.F) {
	addEdits(f, 200)
	f.Fuzz(func(t *testing.T, edits []byte, word string) {
		dir := bundle(t, mutate(t, everything(), edits, word))
		bounded(t, func() error {
			spec, _, err := oci.Load(dir)
			if err != nil {
				return err
			}
			loadedAgain(t, spec)
			return printPlan(t, oci.WithProcess(spec), (*oci.Container).Plan)
		})
	})
}

// FuzzProcess changes the file of `exec --process`.
func FuzzProcess(f *testing.F) {
	addEdits(f, 200)
	f.Fuzz(func(t *testing.T, edits []byte, word string) {
		spec := everything()
		file := filepath.Join(bundle(t, ""), "config.json")
		if err := os.WriteFile(file, []byte(mutate(t, spec.Process, edits, word)), 0o644); err != nil {
			t.Fatal(err)
		}
		bounded(t, func() error {
			var err error
			if spec.Process, err = oci.LoadProcess(file); err != nil {
				return err
			}
			if err := oci.CompleteEnv(spec.Process, oci.Files(filepath.Dir(file))); err != nil {
				return err
			}
			return printPlan(t, spec, func(c *oci.Container) (*plan.Plan, []string, error) { return c.ExecPlan() })
		})
	})
}

// bounded does something with a configuration that somebody else has written.
func bounded(t *testing.T, do func() error) {
	t.Helper()
	const most = 512 << 20
	var before, after runtime.MemStats
	open := descriptors(t)
	runtime.ReadMemStats(&before)
	err := do()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > most {
		t.Errorf("it took %d bytes of memory", used)
	}
	if now := descriptors(t); now > open { // fewer: files of other tests that the garbage collector has closed
		t.Errorf("%d descriptors are open, and before %d", now, open)
	}
	if err != nil && (strings.TrimSpace(err.Error()) == "" || len(err.Error()) > maxText) {
		t.Errorf("the error has %d bytes: %.100q", len(err.Error()), err)
	}
}

// Bounds of what is handed in and of what may come of it, in bytes. A plan has the
// environment once for each directory of PATH: see maxSearch.
const (
	maxConfig = 1 << 20
	maxText   = 64 << 20
)

// printPlan makes a plan and prints it.
func printPlan(t *testing.T, spec *specs.Spec, make func(*oci.Container) (*plan.Plan, []string, error)) (err error) {
	t.Helper()
	set, err := namespace.NewSet(spec.Linux.Namespaces)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if err := set.SetTimeOffsets(spec.Linux.TimeOffsets); err != nil {
		return err
	}
	c := oci.Container{
		Spec: spec, Namespaces: set,
		Prepared: []plan.Step{plan.ReadByte(plan.Descriptor{Number: 5, Name: "gate"}, 'g')},
		Cgroups:  map[string]string{"": "/sys/fs/cgroup/unified/box", "memory": "/sys/fs/cgroup/memory/box"},
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	p, _, err := make(&c)
	if err != nil {
		return err
	}
	if text := p.String(); !strings.Contains(text, "execve(") || len(text) > maxText {
		t.Errorf("the plan has %d bytes, and no program or too much else:\n%.1000s", len(text), text)
	}
	return nil
}

// loadedAgain asserts that a configuration that was accepted is so again, as exec and
// kill find it in the state folder.
func loadedAgain(t *testing.T, spec *specs.Spec) {
	t.Helper()
	var text strings.Builder
	if err := oci.WriteSpec(&text, spec); err != nil {
		t.Fatal(err)
	}
	if _, _, err := oci.Load(bundle(t, text.String())); err != nil {
		t.Errorf("it was accepted, and as it was kept it is not: %v", err)
	}
}

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// everything is a configuration with something in nearly every field.
func everything() *specs.Spec {
	s := oci.Default()
	s.Root.Path = "/srv/box"
	score, errno, notify, mode, mask, number := 100, uint(38), uint64(5), os.FileMode(0o640), uint32(0o27), int64(1<<20)
	s.Domainname, s.Annotations = "example", map[string]string{"a": "b"}
	p := s.Process
	p.OOMScoreAdj, p.User.Umask, p.User.AdditionalGids = &score, &mask, []uint32{10}
	p.ConsoleSize = &specs.Box{Height: 24, Width: 80}
	p.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 1, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
	p.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 3}
	p.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0-1"}
	s.Mounts = append(
		s.Mounts,
		specs.Mount{Destination: "/data", Source: "/", Options: []string{"rbind", "ro", "rnosuid", "rslave"}},
		specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777", "size=64k"}},
	)
	hook := []specs.Hook{{Path: "/bin/true", Args: []string{"true"}, Env: []string{"A=b"}, Timeout: &score}}
	s.Hooks = &specs.Hooks{CreateRuntime: hook, CreateContainer: hook, StartContainer: hook, Poststart: hook, Poststop: hook}
	l := s.Linux
	l.Sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel.shmmax": "1000"}
	l.Devices = []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, FileMode: &mode, UID: &mask, GID: &mask}}
	l.CgroupsPath, l.RootfsPropagation = "/skiff/box", "rslave"
	l.Resources.Memory = &specs.LinuxMemory{Limit: &number}
	l.Resources.Pids = &specs.LinuxPids{Limit: &number}
	l.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux}
	l.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1, Nanosecs: 2}}
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	l.NetDevices = map[string]specs.LinuxNetDevice{"eth7": {Name: "eth0"}}
	l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0"}
	l.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, DefaultErrnoRet: &errno, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86},
		Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog},
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read", "write", "execve"}, Action: specs.ActAllow},
			{
				Names: []string{"socket", "clone"}, Action: specs.ActErrno, ErrnoRet: &errno,
				Args: []specs.LinuxSeccompArg{{Index: 0, Value: notify, ValueTwo: notify, Op: specs.OpMaskedEqual}},
			},
		},
	}
	return s
}

// A value somewhere in a tree of JSON, and what puts another one there.
type place struct {
	value  any
	put    func(any)
	remove func()
}

// places are all values below v, always in the same order.
func places(v any) (all []place) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, place{v[key], func(n any) { v[key] = n }, func() { delete(v, key) }})
			all = append(all, places(v[key])...)
		}
	case []any:
		for i := range v {
			all = append(all, place{v[i], func(n any) { v[i] = n }, func() { v[i] = nil }})
			all = append(all, places(v[i])...)
		}
	}
	return all
}

// mutate is the JSON of v after some edits of four bytes: two choose a value, one
// what becomes of it, and one which. Word is a text, or JSON, that edits put in.
func mutate(t *testing.T, v any, edits []byte, word string) string {
	t.Helper()
	text, err := json.Marshal(v)
	var tree any
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err != nil {
		t.Fatal(err)
	}
	for edit := range slices.Chunk(edits[:min(len(edits), 64)], 4) {
		all := places(tree)
		if len(edit) < 4 || len(all) == 0 {
			break
		}
		change(all, all[(int(edit[0])<<8|int(edit[1]))%len(all)], edit[2], int(edit[3]), word)
	}
	if text, err = json.Marshal(tree); err != nil || len(text) > maxConfig {
		t.Skip("the change cannot be written")
	}
	return string(text)
}

// extremes are numbers and texts at which something ends.
var extremes = []any{
	-1, 0, 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 53, -1 << 62, 1.5, 1e300, true, false, nil,
	[]any{},
	map[string]any{},
	"", "/", "..", "../..", "/proc/self/ns/pid", "\x00", "\n", "\ufffd", strings.Repeat("a/", unix.PathMax),
}

// change makes one edit.
func change(all []place, p place, how byte, which int, word string) {
	switch how % 6 {
	case 0:
		p.put(word)
	case 1:
		p.put(extremes[which%len(extremes)])
	case 2:
		p.remove()
	case 3: // another value of the configuration
		if text, err := json.Marshal(all[which%len(all)].value); err == nil {
			p.put(json.RawMessage(text))
		}
	case 4: // more of it
		switch v := p.value.(type) {
		case []any:
			p.put(slices.Concat(v, v)[:min(2*len(v), 64)])
		case string:
			p.put(strings.Repeat(v, min(1+which, maxConfig/max(1, len(v)))))
		case float64:
			p.put(v * float64(which))
		}
	case 5:
		if m, ok := p.value.(map[string]any); ok { // a name that is in no specification, or one that is
			m[word] = extremes[which%len(extremes)]
		} else if json.Valid([]byte(word)) {
			p.put(json.RawMessage(word))
		}
	}
}

// What the fuzzing has found: each directory of PATH is a step with the whole
// environment, which PATH is a part of.
func TestAPATHThatWouldMakeAPlanOutOfProportion(t *testing.T) {
	spec := oci.Default()
	load := func(directories int) error {
		spec.Process.Env = []string{"PATH=" + strings.Repeat("/usr/bin:", directories)}
		var text strings.Builder
		if err := oci.WriteSpec(&text, spec); err != nil {
			t.Fatal(err)
		}
		_, _, err := oci.Load(bundle(t, text.String()))
		return err
	}
	if err := load(1000); err != nil {
		t.Error(err)
	}
	refused(t, load(10_000), "process.env: PATH has 10000 directories, too many for arguments and environment of 90")
}
