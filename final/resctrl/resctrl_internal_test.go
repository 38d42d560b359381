package resctrl

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
)

// tree is the resctrl file system of a machine with two caches, as a recorded tree:
// processors with this are rare. It has a group "gold" that somebody has prepared.
func tree(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range map[string]string{
		"schemata":             "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n",
		"tasks":                "1\n",
		"info/last_cmd_status": "ok\n",
		"gold/schemata":        "    MB:0= 50;1=100\n    L3:0=0f0;1=7ff\n",
		"gold/tasks":           "",
		"gold/mon_groups/old":  "",
		"mon_groups/old":       "",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// create makes the group of the container "box", and returns what is to be undone.
func create(t *testing.T, root string, c specs.LinuxIntelRdt) (*Group, []journal.Entry, error) {
	t.Helper()
	j, err := journal.Open(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	g := at(root, "box", &c)
	err = g.Create(j)
	entries := j.Entries()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	return g, entries, err
}

// read is the text of a file of the group.
func (g *Group) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func TestAContainerGetsAGroupOfItsOwnThatGoesWithIt(t *testing.T) {
	root := tree(t)
	g, entries, err := create(t, root, specs.LinuxIntelRdt{
		MemBwSchema: "MB:0=20;1=70", L3CacheSchema: "L3:0=7f0;1=1f", Schemata: []string{"L2:0=3"}, EnableMonitoring: true,
	})
	// The folder mon_groups is the kernel's, and not in a tree that is not.
	if !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
	if got, want := g.read(t, "schemata"), "L3:0=7f0;1=1f\nMB:0=20;1=70\nL2:0=3\n"; got != want {
		t.Errorf("schemata is %q, want %q", got, want)
	}
	want := []journal.Entry{{Undo: "rmdir", Args: []string{root + "/box"}}, {Undo: "rmdir", Args: []string{root + "/box/mon_groups/box"}}}
	if !reflect.DeepEqual(entries, want) {
		t.Errorf("the journal has %+v, want %+v", entries, want)
	}
	if got := g.Entrances(); !reflect.DeepEqual(got, []string{root + "/box/tasks", root + "/box/mon_groups/box/tasks"}) {
		t.Errorf("it is entered through %q", got)
	}
}

func TestAGroupWithANameOfItsOwnStays(t *testing.T) {
	root := tree(t)
	g, entries, err := create(t, root, specs.LinuxIntelRdt{ClosID: "silver", L3CacheSchema: "L3:0=f"})
	if err != nil || len(entries) > 0 || g.read(t, "schemata") != "L3:0=f\n" {
		t.Errorf("error %v, journal %+v", err, entries)
	}
}

func TestAnUpdateWritesWhatItNames(t *testing.T) {
	root := tree(t)
	g := at(root, "box", &specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=0f0"})
	before := g.read(t, "schemata")
	for _, err := range []error{g.Update("", "MB:0=20"), g.Update("L3:0=f", "")} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := g.Update("L3:0=f\nMB:0=100", ""); err == nil {
		t.Error("two lines are no error")
	}
	if got, want := g.read(t, "schemata"), before+"MB:0=20\nL3:0=f\n"; got != want {
		t.Errorf("schemata is %q, want %q", got, want)
	}
}

func TestAGroupThatIsPreparedIsTakenAsItIs(t *testing.T) {
	for _, c := range []specs.LinuxIntelRdt{
		{ClosID: "gold"},
		{ClosID: "gold", L3CacheSchema: "L3:0=f0"},
		{ClosID: "gold", L3CacheSchema: "L3:1=7ff;0=f0", MemBwSchema: "MB:0=50;1=100"},
		{ClosID: "/"},
		{ClosID: "/", L3CacheSchema: "L3:0=7ff"},
	} {
		root := tree(t)
		before, _ := os.ReadFile(filepath.Join(root, c.ClosID, "schemata"))
		g, entries, err := create(t, root, c)
		if err != nil || len(entries) > 0 || g.read(t, "schemata") != string(before) {
			t.Errorf("%+v: error %v, journal %+v", c, err, entries)
		}
	}
}

// Only the group for counting goes with the container.
func TestMonitoringInAPreparedGroup(t *testing.T) {
	root := tree(t)
	for id, dir := range map[string]string{"gold": root + "/gold/mon_groups/box", "/": root + "/mon_groups/box"} {
		g, entries, err := create(t, root, specs.LinuxIntelRdt{ClosID: id, EnableMonitoring: true})
		if err != nil || !reflect.DeepEqual(entries, []journal.Entry{{Undo: "rmdir", Args: []string{dir}}}) {
			t.Errorf("error %v, journal %+v", err, entries)
		}
		if got := g.Entrances(); len(got) != 2 || got[1] != dir+"/tasks" {
			t.Errorf("it is entered through %q", got)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatCannotBeIsSaid(t *testing.T) {
	for _, c := range []struct {
		config    specs.LinuxIntelRdt
		say, hint string
	}{
		{specs.LinuxIntelRdt{ClosID: "nothere"}, `/nothere": no such file or directory`, "must have been prepared"},
		{specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=f"}, `gold" exists, and does not have "L3:0=f"`, "L3:0=0f0;1=7ff; take another closID"},
		{specs.LinuxIntelRdt{ClosID: "gold", MemBwSchema: "MB:7=50"}, `does not have "MB:7=50"`, "take another"},
	} {
		_, entries, err := create(t, tree(t), c.config)
		if err == nil || !strings.Contains(err.Error(), c.say) || !strings.Contains(hint.Of(err), c.hint) || len(entries) > 0 {
			t.Errorf("got %v, hint %q, journal %+v", err, hint.Of(err), entries)
		}
	}
	root := tree(t)
	if err := os.Mkdir(root+"/box", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, entries, err := create(t, root, specs.LinuxIntelRdt{}); !errors.Is(err, unix.EEXIST) || len(entries) > 0 {
		t.Errorf("a group with the container's name: %v, journal %+v", err, entries)
	}
}

// The kernel says more than an errno in a file.
func TestTheKernelsOwnWordsAreInTheError(t *testing.T) {
	root := tree(t)
	if err := os.WriteFile(root+"/info/last_cmd_status", []byte("Out of CLOSIDs\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := create(t, root, specs.LinuxIntelRdt{ClosID: "a\x00b", L3CacheSchema: "L3:0=f"}) // a name that no file has
	if err == nil || !strings.HasSuffix(err.Error(), ": Out of CLOSIDs") {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, good := range []specs.LinuxIntelRdt{{}, {ClosID: "/"}, {ClosID: "gold"}, {MemBwSchema: "MB:0=1", L3CacheSchema: "L3DATA:0=1"}} {
		if err := Check(&good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []specs.LinuxIntelRdt{
		{ClosID: "."},
		{ClosID: ".."},
		{ClosID: "a/b"},
		{ClosID: "/a"},
		{ClosID: "info"},
		{ClosID: "mon_groups"},
		{ClosID: "a\nb"},
		{MemBwSchema: "L3:0=1"},
		{MemBwSchema: "MB:0=1\nL3:0=f"},
		{L3CacheSchema: "L3:0=f\n"},
		{Schemata: []string{"L3:0=f", "MB:0=1\n"}},
	} {
		if err := Check(&bad); err == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
}

func TestTheFileSystemIsFoundWhereItIsMounted(t *testing.T) {
	const mounts = "25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n" +
		"41 25 0:37 / /sys/fs/resctrl rw,relatime shared:20 - resctrl resctrl rw\n"
	if point, ok := mountPoint(mounts); !ok || point != "/sys/fs/resctrl" {
		t.Errorf("got %q, %v", point, ok)
	}
	if _, ok := mountPoint("25 30 0:23 / /resctrl rw - tmpfs resctrl rw\n"); ok {
		t.Error("a tmpfs is none")
	}
	_, err := New("box", &specs.LinuxIntelRdt{})
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), " - resctrl ") {
		return
	}
	if err == nil || !strings.Contains(hint.Of(err), "mount -t resctrl") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
}
