// A recorded group: a folder with the files of a new group, and in them what
// they say (testdata/legacy.tree, unified.tree). No kernel is behind it that
// could refuse a value, and no privilege is needed: it shows which value goes to
// which file. What the kernel does with it is in limits_test.go.

package cgroup_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/cgroup"
)

// recorded is the group /web on a machine made of files.
type recorded struct {
	*cgroup.Manager
	t       testing.TB
	top     string            // where its hierarchies are
	initial map[string]string // by path below top: what the files said
}

// record makes the group on a machine that is "legacy" or "unified".
func record(t testing.TB, kind string) *recorded {
	t.Helper()
	r := &recorded{t: t, top: t.TempDir(), initial: make(map[string]string)}
	tree, err := os.ReadFile("testdata/" + kind + ".tree")
	must(t, err)
	h := &cgroup.Hierarchies{}
	for line := range strings.Lines(string(tree)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		file, content, _ := strings.Cut(strings.TrimSpace(line), ":")
		content = strings.ReplaceAll(strings.TrimSpace(content), "|", "\n")
		controllers, name := filepath.Split(file)
		r.put(filepath.Join(controllers, "web", name), content)
		point := filepath.Join(r.top, controllers)
		if kind == "legacy" && !slices.ContainsFunc(h.V1, func(v1 cgroup.Hierarchy) bool { return v1.MountPoint == point }) {
			h.V1 = append(h.V1, cgroup.Hierarchy{MountPoint: point, Controllers: strings.Split(filepath.Clean(controllers), ",")})
		}
	}
	if kind == "unified" {
		r.put("cgroup.controllers", r.initial["web/cgroup.controllers"])
		h.V2 = &cgroup.Hierarchy{MountPoint: r.top}
	}
	r.Manager = manager(t, h, "/web")
	return r
}

// put writes a file of the machine.
func (r *recorded) put(file, content string) {
	r.t.Helper()
	r.initial[file] = content
	file = filepath.Join(r.top, file)
	must(r.t, os.MkdirAll(filepath.Dir(file), 0o700))
	must(r.t, os.WriteFile(file, []byte(content), 0o600))
}

// written returns what was written since, one line for each write(2), and
// takes it back.
func (r *recorded) written() string {
	r.t.Helper()
	var out strings.Builder
	for _, file := range slices.Sorted(maps.Keys(r.initial)) {
		name, before := filepath.Join(r.top, file), r.initial[file]
		if st, err := os.Stat(name); err != nil || st.Size() == int64(len(before)) {
			must(r.t, err)
			continue
		}
		content, err := os.ReadFile(name)
		must(r.t, err)
		for line := range strings.Lines(strings.TrimPrefix(string(content), before)) {
			fmt.Fprintf(&out, "%s: %s", strings.Replace(file, "web/", "", 1), line)
		}
		must(r.t, os.Truncate(name, int64(len(before))))
	}
	return out.String()
}

// What goes where: each part of the specification's resources, on each kind of
// machine, or the error.
func TestFilesWritten(t *testing.T) {
	for _, kind := range []string{"legacy", "unified"} {
		t.Run(kind, func(t *testing.T) {
			var out strings.Builder
			m := record(t, kind)
			for _, f := range fragments {
				fmt.Fprintf(&out, "# %s\n%s\n", f.what, f.resources)
				err := m.Set(resources(t, f.resources))
				out.WriteString(m.written())
				out.WriteString(told(err, m.top))
				out.WriteString("\n")
			}
			golden(t, out.String(), kind+".golden")
		})
	}
}

// A controller is handed down by each group that does not do so yet, and no
// other is touched.
func TestControllersAreHandedDown(t *testing.T) {
	m := record(t, "unified")
	m.put("cgroup.controllers", "cpu io memory\n")
	m.put("cgroup.subtree_control", "memory\n")
	m.put("pod/cgroup.subtree_control", "")
	m.put("pod/web/cgroup.controllers", "")
	m.put("pod/web/memory.max", "max\n")
	h := &cgroup.Hierarchies{V2: &cgroup.Hierarchy{MountPoint: m.top}}
	web := manager(t, h, "/pod/web")
	must(t, web.Set(resources(t, `{"memory": {"limit": 1000}}`)))
	want := "pod/cgroup.subtree_control: +memory\npod/memory.max: 1000\n"
	if got := m.written(); got != want {
		t.Errorf("written:\n%s\nwant:\n%s", got, want)
	}
}

// A period alone keeps the quota, and what an update does not mention stays.
func TestUpdateOfTheQuota(t *testing.T) {
	m := record(t, "unified")
	m.put("web/cpu.max", "50000 100000\n")
	must(t, m.Set(resources(t, `{"cpu": {"period": 200000}}`)))
	if got := m.written(); got != "cpu.max: 50000 200000\n" {
		t.Errorf("written: %s", got)
	}
}

// The sum of memory and swap, for a group that has a limit of memory.
func TestUpdateOfSwapAlone(t *testing.T) {
	m := record(t, "unified")
	m.put("web/memory.max", "1048576\n")
	must(t, m.Set(resources(t, `{"memory": {"swap": 3145728}}`)))
	if got := m.written(); got != "memory.swap.max: 2097152\n" {
		t.Errorf("written: %s", got)
	}
}

// A kernel without swap has no file for it, and none is needed to have none.
func TestNoSwapWhereTheKernelHasNone(t *testing.T) {
	for kind, file := range map[string]string{"legacy": "memory/web/memory.memsw.limit_in_bytes", "unified": "web/memory.swap.max"} {
		m := record(t, kind)
		must(t, os.Remove(filepath.Join(m.top, file)))
		must(t, m.Set(resources(t, `{"memory": {"limit": -1}}`)))
		if err := m.Set(resources(t, `{"memory": {"limit": 1048576, "swap": 2097152}}`)); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: a limit on swap that cannot be kept: %v", kind, err)
		}
	}
}

func TestWhatIsIgnoredIsSaid(t *testing.T) {
	said := cgroup.Ignored(resources(t, `{"memory": {"kernel": 1048576, "useHierarchy": false, "limit": 1}}`))
	if len(said) != 2 || !strings.Contains(said[0], "memory.kernel") || !strings.Contains(said[1], "memory.useHierarchy") {
		t.Errorf("said: %q", said)
	}
	for _, r := range []*specs.LinuxResources{nil, {}, resources(t, `{"memory": {"kernel": 0, "useHierarchy": true}}`)} {
		if said := cgroup.Ignored(r); len(said) != 0 {
			t.Errorf("said: %q", said)
		}
	}
}

// Where BFQ schedules a disk, its own file takes the specification's weight as
// it is.
func TestTheWeightOfBFQ(t *testing.T) {
	m := record(t, "unified")
	m.put("web/io.bfq.weight", "default 100\n")
	must(t, m.Set(resources(t, `{"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 300}]}}`)))
	if got := m.written(); got != "io.bfq.weight: 500\nio.bfq.weight: 8:0 300\n" {
		t.Errorf("written: %s", got)
	}
}

// The kernel would take pids from a group with processes, as a controller of
// threads, and then let nobody into the groups below: it is never tried.
func TestAGroupWithProcessesHandsNothingDown(t *testing.T) {
	m := record(t, "unified")
	m.put("cgroup.subtree_control", "pids\n")
	m.put("pod/cgroup.subtree_control", "")
	m.put("pod/cgroup.type", "domain\n")
	m.put("pod/cgroup.procs", "4711\n")
	m.put("pod/web/cgroup.controllers", "")
	m.put("pod/web/pids.max", "max\n")
	web := manager(t, &cgroup.Hierarchies{V2: &cgroup.Hierarchy{MountPoint: m.top}}, "/pod/web")
	err := web.Set(resources(t, `{"pids": {"limit": 5}}`))
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(hint.Of(err), "no internal processes") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
	if got := m.written(); got != "" {
		t.Errorf("written: %s", got)
	}
}
