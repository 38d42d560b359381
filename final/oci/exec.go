package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs/lookup"
)

// A further process in a container that runs: what `exec` starts. The namespaces
// and the root are there, so its plan only joins (setns(2)) what the first
// process has made; from there on it becomes what its configuration says in the
// same steps as the first one.

// LoadProcess reads the process of a configuration from a file of its own, as
// engines hand it to exec.
func LoadProcess(file string) (*specs.Process, error) {
	text, err := readLimited(file)
	if err != nil {
		return nil, fmt.Errorf("load process: %w", err)
	}
	p := &specs.Process{}
	if err := Decode(text, p); err != nil {
		return nil, fmt.Errorf("load process %q: %w", file, err)
	}
	return p, nil
}

// ExecPlan makes the plan of a further process: Spec is the container's, with
// that process in it; Namespaces joins those of Init. given are the directories
// of the host that this process holds open for the new one's birth: it gives
// them up first, and so has nothing of the host's left when it can be seen by
// those in the container (CVE-2016-9962, CVE-2024-21626).
func (c *Container) ExecPlan(given ...plan.Descriptor) (p *plan.Plan, warnings []string, err error) {
	if err := validateProcess(c.Spec.Process); err != nil {
		return nil, nil, err
	}
	p = c.newPlan()
	if err := c.newAttributes(p); err != nil {
		return nil, nil, err
	}
	for _, d := range given {
		p.Add(plan.Close(d))
	}
	if score := c.Spec.Process.OOMScoreAdj; score != nil {
		oomScore(p, *score)
	}
	enter, enterRoot := openCgroups(p, c.Entrances), c.openRoot(p)
	c.Namespaces.Steps(p)
	enter()
	enterRoot()
	for i := range c.Entrances {
		p.Add(plan.Close(p.Register(entrance(i))))
	}
	if c.Namespaces.Has(unix.CLONE_NEWUSER) {
		p.Section(2, "root of the container's user namespace")
		p.Add(plan.Setresgid(0), plan.Setresuid(0))
	}
	p.Section(2, "a session of its own")
	p.Add(plan.Setsid())
	further, spec := *c, *c.Spec
	spec.Hostname, spec.Domainname = "", "" // they have been set
	further.Spec = &spec
	warnings, err = further.process(p)
	return p, warnings, err
}

// openRoot opens the root of the first process if that shares our mount namespace
// (mount.StepAside), and returns what enters it: otherwise setns(2) does. It is
// opened first: later /proc may be another's, and this process not its equal.
func (c *Container) openRoot(p *plan.Plan) (enter func()) {
	if c.Namespaces.Has(unix.CLONE_NEWNS) {
		return func() {}
	}
	root := p.Register("init_root")
	p.Section(2, "the root of the first process")
	p.Add(plan.Openat2(plan.CWD, RootOf(c.Init), unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC}).Into(root).
		Doing("open the container's root"))
	return func() {
		p.Section(2, "enter it")
		p.Add(plan.Fchdir(root).Doing("change directory to the container's root"), plan.Chroot("."))
	}
}

// oomScore adds the steps by which the process says how readily the kernel shall
// kill it when memory is short: proc(5), /proc/PID/oom_score_adj. For the first
// process of a container the parent does it.
func oomScore(p *plan.Plan, score int) {
	file := p.Register("score")
	p.Section(3, "how readily it is killed")
	p.Add(
		plan.Openat2(plan.CWD, "/proc/self/oom_score_adj", unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CLOEXEC}).Into(file),
		plan.Write(file, strconv.Itoa(score)).Doing("set oom_score_adj %d", score).
			Hint(unix.EACCES, "a value below that of the caller takes CAP_SYS_RESOURCE"),
		plan.Close(file),
	)
}

// RootOf is where the root of a process is found from outside: a link of proc(5)
// that leads into its mount namespace.
func RootOf(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid), "root") }

// OpenInRoot opens a file of a running container as a mere place (O_PATH). Links
// are followed inside its root only.
func OpenInRoot(pid int, name string) (*os.File, error) {
	file, err := lookup.Below(RootOf(pid), name, unix.O_PATH)
	if err != nil {
		return nil, fmt.Errorf("the container's files: %w", err)
	}
	return file, nil
}
