// Package resctrl gives a container its share of the processor's caches and of the
// way to memory, and lets it be watched: Intel RDT and its like on other processors,
// in the kernel's Documentation/filesystems/resctrl.rst. runtime-spec
// config-linux.md, "IntelRdt".
//
// A group is a directory of the resctrl file system, as a cgroup is one of its own:
// schemata says what its members get, and whoever is written into tasks is a member,
// with all children from then on.
package resctrl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
)

// A Group is a container's place in the resctrl file system.
type Group struct {
	root    string // where that is mounted
	dir     string // of the group
	monitor string // the group in it that is only for counting, or ""
	own     bool   // the group is named after the container, and goes with it
	config  *specs.LinuxIntelRdt
}

// wholeMachine is the closID of the group that everybody is in.
const wholeMachine = "/"

// Check refuses what cannot be a group, before anything is looked at.
func Check(c *specs.LinuxIntelRdt) error {
	reserved := []string{".", "..", "info", "mon_groups", "mon_data"} // what the kernel has at that place
	if id := c.ClosID; id != wholeMachine && (strings.ContainsAny(id, "/\n\x00") || slices.Contains(reserved, id)) {
		return fmt.Errorf("linux.intelRdt.closID %q: want / or the name of a directory", id)
	}
	for _, line := range slices.Concat([]string{c.L3CacheSchema, c.MemBwSchema}, c.Schemata) {
		if strings.ContainsAny(line, "\n\x00") {
			return fmt.Errorf("linux.intelRdt: schema %q: want one line", line)
		}
	}
	if c.MemBwSchema != "" && !strings.HasPrefix(c.MemBwSchema, "MB:") {
		return fmt.Errorf("linux.intelRdt.memBwSchema %q: want MB: in front", c.MemBwSchema)
	}
	return nil
}

// New finds the place of the container with this id. Nothing is made.
func New(id string, c *specs.LinuxIntelRdt) (*Group, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("linux.intelRdt: %w", err)
	}
	root, ok := mountPoint(string(mounts))
	if !ok {
		return nil, hint.Add(errors.New("linux.intelRdt: no resctrl file system is mounted"),
			"mount -t resctrl resctrl /sys/fs/resctrl, if the processor has it: rdt_a in the flags of /proc/cpuinfo")
	}
	return at(root, id, c), nil
}

// mountPoint finds the resctrl file system in /proc/self/mountinfo: proc(5).
func mountPoint(mountinfo string) (point string, ok bool) {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "resctrl ") && len(fields) > 4 {
			point, ok = fields[4], true // the last one is on top
		}
	}
	return point, ok
}

// at is New for a file system that is mounted on root.
func at(root, id string, c *specs.LinuxIntelRdt) *Group {
	g := &Group{root: root, dir: filepath.Join(root, c.ClosID), config: c}
	if c.ClosID == "" {
		g.dir, g.own = filepath.Join(root, id), true
	}
	if c.EnableMonitoring {
		g.monitor = filepath.Join(g.dir, "mon_groups", id)
	}
	return g
}

// Entrances are the files through which a process moves itself in, by writing 0,
// in this order.
func (g *Group) Entrances() []string {
	files := []string{filepath.Join(g.dir, "tasks")}
	if g.monitor != "" {
		files = append(files, filepath.Join(g.monitor, "tasks"))
	}
	return files
}

// Create makes the group, or takes one that somebody has prepared. What goes with
// the container is recorded in j before it is made; a group with a name of its own
// stays, as the specification has it: others may be in it.
func (g *Group) Create(j *journal.Journal) error {
	_, err := os.Stat(g.dir)
	exists := err == nil
	switch {
	case g.own && exists:
		return fmt.Errorf("linux.intelRdt: group %q: %w", g.dir, unix.EEXIST)
	case exists:
		err = g.compare()
	case !g.own && len(g.schemas()) == 0:
		err = hint.Add(fmt.Errorf("linux.intelRdt: group %q: %w", g.dir, unix.ENOENT), "without a schema the group closID must have been prepared")
	default:
		err = g.make(j)
	}
	if err != nil || g.monitor == "" {
		return err
	}
	if err := j.Record("rmdir", g.monitor); err != nil {
		return err
	}
	return g.mkdir(g.monitor)
}

// schemas are the lines for the file schemata, in the order in which the
// specification wants them written.
func (g *Group) schemas() []string {
	lines := slices.Concat([]string{g.config.L3CacheSchema, g.config.MemBwSchema}, g.config.Schemata)
	return slices.DeleteFunc(lines, func(line string) bool { return line == "" })
}

// make makes the group and sets what it gets.
func (g *Group) make(j *journal.Journal) error {
	if g.own {
		if err := j.Record("rmdir", g.dir); err != nil {
			return err
		}
	}
	if err := g.mkdir(g.dir); err != nil {
		return err
	}
	return g.writeSchemas()
}

// writeSchemas makes one write a line: the kernel says of one that it refuses which
// it was.
func (g *Group) writeSchemas() error {
	for _, line := range g.schemas() {
		if err := g.write("schemata", line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// Update changes what the group gets, and whoever else is in it; an empty schema
// changes nothing.
func (g *Group) Update(l3Cache, memoryBandwidth string) error {
	g.config = &specs.LinuxIntelRdt{L3CacheSchema: l3Cache, MemBwSchema: memoryBandwidth}
	if err := Check(g.config); err != nil {
		return err
	}
	return g.writeSchemas()
}

// mkdir makes one directory, which the kernel fills.
func (g *Group) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		err = fmt.Errorf("linux.intelRdt: make group %q: %w%s", dir, errors.Unwrap(err), g.lastStatus())
		return hint.Add(err, "the processor knows a few groups only: num_closids and num_rmids below "+filepath.Join(g.root, "info"))
	}
	return nil
}

// write writes to a file of the group.
func (g *Group) write(name, text string) error {
	// In a tree that is not the kernel's the file is not there yet.
	f, err := os.OpenFile(filepath.Join(g.dir, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("linux.intelRdt: %s %q: %w%s", name, strings.TrimSpace(text), err, g.lastStatus())
	}
	return nil
}

// lastStatus is what the kernel has to say about the last thing that failed.
func (g *Group) lastStatus() string {
	text, err := os.ReadFile(filepath.Join(g.root, "info/last_cmd_status"))
	if said := strings.TrimSpace(string(text)); err == nil && said != "" && said != "ok" {
		return ": " + said
	}
	return ""
}
