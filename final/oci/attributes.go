package oci

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/security"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// What a process inherits or is given beside its names, its user and its rights:
// session-keyring(7), personality(2), sched(7), ioprio_set(2), set_mempolicy(2), and
// the labels of labels.go. runtime-spec config.md, "Linux Process"; config-linux.md,
// "Memory policy", "Personality".

// attributes are what the configuration says of these. They are one for the first
// process of a container and for those that exec brings into it, so that there is
// one way only in which a process becomes what its configuration says.
type attributes struct {
	process *specs.Process
	linux   *specs.Linux // of the container
	ring    string       // the name of the session keyring, or "" for that of whoever calls us
	exec    bool         // the process is not the container's first
	labels  labels
	proc    hostProc // for the labels, and kernel parameters

	reserved *os.File // see closeOthers
}

// close gives back what the steps need open.
func (a *attributes) close() error {
	if a.reserved == nil {
		return a.proc.close()
	}
	return errors.Join(a.proc.close(), a.reserved.Close())
}

// Keyring is the name of a container's session keyring, as runc has it: whoever
// joins the container later, by exec or by runc, finds the same keyring.
func Keyring(id string) string { return "_ses." + id }

// newAttributes finds out whether the kernel can give the process what its
// configuration says, and opens what is needed for it. It adds what the process can
// only do as long as it is neither in the container's namespaces nor in its cgroup.
func (c *Container) newAttributes(p *plan.Plan) error {
	c.attributes = &attributes{process: c.Spec.Process, linux: c.Spec.Linux, ring: c.Keyring, exec: c.Init != 0}
	c.attributes.labels.proc = &c.attributes.proc
	if err := c.attributes.labels.open(c.Spec.Process); err != nil {
		return err
	}
	if len(c.Spec.Linux.Sysctl) > 0 && c.Init == 0 {
		if err := c.attributes.proc.open(); err != nil {
			return err
		}
	}
	if c.Namespaces.Has(unix.CLONE_NEWUSER) && !c.Namespaces.New(unix.CLONE_NEWUSER) {
		security.RaiseFirst(p, c.Spec.Process.Rlimits)
	}
	return c.attributes.affinity(p, "initial")
}

// checkAttributes refuses what no process can have. It makes the steps, and throws them away.
func checkAttributes(s *specs.Spec) error {
	a, p := attributes{process: s.Process, linux: s.Linux, exec: true}, &plan.Plan{}
	if err := a.affinity(p, "initial"); err != nil {
		return err
	}
	return a.steps(p)
}

// steps adds the steps. They stand where the process is in its cgroup and in all
// its namespaces, and still has its rights: a real-time policy wants CAP_SYS_NICE.
func (a *attributes) steps(p *plan.Plan) error {
	a.keyring(p)
	a.labels.steps(p)
	p.Section(chapter, "processors, disks and memory")
	return cmp.Or(
		a.affinity(p, "final"),
		field("process.scheduler", scheduler(p, a.process.Scheduler)),
		field("process.ioPriority", ioPriority(p, a.process.IOPriority)),
		field("linux.memoryPolicy", memoryPolicy(p, a.linux.MemoryPolicy)),
		// Before the seccomp filter, which may forbid it, or allow this value only.
		field("linux.personality", personality(p, a.linux.Personality)),
	)
}

// field says which field of the configuration an error is about.
func field(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// keyring adds the steps that leave the session keyring of whoever has called us:
// it may hold the keys of an encrypted home or of Kerberos, and no namespace
// keeps a container from them. The name lets exec find the container's keyring
// again, and who has the same user id as the keyring, join it, too: keyctl(2) is for
// the container's seccomp filter to forbid.
func (a *attributes) keyring(p *plan.Plan) {
	if a.ring == "" {
		return
	}
	p.Section(chapter, "a session keyring of its own")
	a.labels.keyring(p)
	search := uint32(plan.KeyUserSearch)
	if slices.ContainsFunc(a.linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace }) {
		search = plan.KeyOtherSearch // exec comes with another user id than the container's root
	}
	const without = "; --no-new-keyring does without, and leaves the container the keyring of its caller"
	keyring := p.Register("keyring")
	p.Add(
		plan.JoinSessionKeyring(a.ring).Into(keyring).Accept(unix.ENOSYS). // a kernel without keys has none to protect
											Hint(unix.EDQUOT, "the user has too many keys; see /proc/key-users"+without).
											Hint(unix.EPERM, "a seccomp filter around this runtime forbids keyctl"+without),
		plan.KeyringPermissions(keyring, search).When(keyring),
	)
}

// affinity adds the step that chooses the processors of a process that exec brings
// in: the initial ones, or when it is in the container's cgroup the final ones. An
// empty list leaves them as they are.
func (a *attributes) affinity(p *plan.Plan, which string) error {
	const maxCPUs = 8192 // the kernel's CONFIG_NR_CPUS
	if a.process.ExecCPUAffinity == nil || !a.exec {
		return nil
	}
	list := a.process.ExecCPUAffinity.Initial
	if which == "final" {
		list = a.process.ExecCPUAffinity.Final
	}
	if list == "" {
		return nil
	}
	cpus, err := parseNumbers(list, maxCPUs)
	if err != nil {
		return fmt.Errorf("process.execCPUAffinity.%s: %w", which, err)
	}
	p.Section(chapter, "processors, disks and memory")
	p.Add(plan.SchedSetaffinity(cpus).Hint(unix.EINVAL, "none of these processors is online, and in the process's cpuset"))
	return nil
}

// scheduler adds the step that sets the scheduling policy.
func scheduler(p *plan.Plan, s *specs.Scheduler) error {
	if s == nil {
		return nil
	}
	policy, ok := plan.SchedulerPolicy(string(s.Policy))
	realTime := s.Policy == specs.SchedFIFO || s.Policy == specs.SchedRR
	const lowest, highest = 1, 99 // of real-time priorities: sched(7)
	switch {
	case !ok:
		return fmt.Errorf("policy %q is not known", s.Policy)
	case s.Nice < -20 || s.Nice > 19:
		return fmt.Errorf("nice %d: want -20 to 19", s.Nice)
	case realTime && (s.Priority < lowest || s.Priority > highest):
		return fmt.Errorf("priority %d: %s wants %d to %d", s.Priority, s.Policy, lowest, highest)
	case !realTime && s.Priority != 0:
		return fmt.Errorf("priority %d: only SCHED_FIFO and SCHED_RR have one", s.Priority)
	case s.Policy != specs.SchedDeadline && (s.Runtime != 0 || s.Deadline != 0 || s.Period != 0):
		return errors.New("runtime, deadline and period are for SCHED_DEADLINE only")
	}
	attr := unix.SchedAttr{
		Policy: uint32(policy), Nice: s.Nice, Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}
	var err error
	if attr.Flags, err = flagsOf(s.Flags, plan.SchedulerFlag); err != nil {
		return err
	}
	p.Add(plan.SchedSetattr(attr).
		Hint(unix.EPERM, "a real-time policy, or a nice value below the caller's, needs CAP_SYS_NICE in the first user namespace, or RLIMIT_RTPRIO, RLIMIT_NICE; in a cgroup of version 1 also realtimeRuntime; SCHED_DEADLINE a cpuset of all processors").
		Hint(unix.EINVAL, "Linux has no SCHED_ISO; SCHED_DEADLINE wants 1024 ns ≤ runtime ≤ deadline ≤ period").
		Hint(unix.EBUSY, "the processors have no room for another SCHED_DEADLINE process like this").
		Hint(unix.EOPNOTSUPP, "the kernel is built without utilization clamping"))
	return nil
}

// ioPriority adds the step that sets how urgent reading and writing is. The process
// has just started a session: its group, which the specification speaks of, is it
// and what it will start.
func ioPriority(p *plan.Plan, o *specs.LinuxIOPriority) error {
	if o == nil {
		return nil
	}
	class, ok := plan.IOPriorityClass(string(o.Class))
	if !ok || class == 0 {
		return fmt.Errorf("class %q: want IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE", o.Class)
	}
	if o.Priority < 0 || o.Priority > 7 {
		return fmt.Errorf("priority %d: want 0 to 7", o.Priority)
	}
	p.Add(plan.IoprioSet(class, o.Priority).
		Hint(unix.EPERM, "IOPRIO_CLASS_RT needs CAP_SYS_NICE in the first user namespace"))
	return nil
}

// memoryPolicy adds the step that chooses NUMA nodes. Which mode wants nodes, and
// which flags, set_mempolicy(2) says.
func memoryPolicy(p *plan.Plan, m *specs.LinuxMemoryPolicy) error {
	const maxNodes = 1024 // the kernel's MAX_NUMNODES
	if m == nil {
		return nil
	}
	mode, ok := plan.MemoryPolicyMode(string(m.Mode))
	if !ok {
		return fmt.Errorf("mode %q is not known", m.Mode)
	}
	flags, err := flagsOf(m.Flags, plan.MemoryPolicyFlag)
	if err != nil {
		return err
	}
	var nodes []uint64
	if m.Nodes != "" {
		if nodes, err = parseNumbers(m.Nodes, maxNodes); err != nil {
			return fmt.Errorf("nodes: %w", err)
		}
	}
	if err := checkMemoryPolicy(m); err != nil {
		return err
	}
	p.Add(plan.SetMempolicy(mode, flags, nodes).
		Hint(unix.EINVAL, "none of these nodes has memory that the container's cpuset allows; or the kernel does not know this mode or flag yet"))
	return nil
}

// flagsOf are the flags with these names.
func flagsOf[T ~string](names []T, known func(string) (uint64, bool)) (flags uint64, err error) {
	for _, name := range names {
		flag, ok := known(string(name))
		if !ok {
			return 0, fmt.Errorf("flag %q is not known", name)
		}
		flags |= flag
	}
	return flags, nil
}

// checkMemoryPolicy refuses what the kernel would refuse with a mere EINVAL.
func checkMemoryPolicy(m *specs.LinuxMemoryPolicy) error {
	has := func(f specs.MemoryPolicyFlagType) bool { return slices.Contains(m.Flags, f) }
	switch whole := m.Mode == specs.MpolDefault || m.Mode == specs.MpolLocal; {
	case whole && m.Nodes != "":
		return fmt.Errorf("%s takes no nodes", m.Mode)
	case whole && len(m.Flags) > 0:
		return fmt.Errorf("%s takes no flags", m.Mode)
	case !whole && m.Nodes == "" && (m.Mode != specs.MpolPreferred || len(m.Flags) > 0):
		return fmt.Errorf("%s needs nodes", m.Mode)
	case has(specs.MpolFStaticNodes) && has(specs.MpolFRelativeNodes):
		return errors.New("MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other")
	case has(specs.MpolFNumaBalancing) && m.Mode != specs.MpolBind && m.Mode != specs.MpolPreferredMany:
		return errors.New("MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY only")
	}
	return nil
}

// personality adds the step that sets the execution domain.
func personality(p *plan.Plan, o *specs.LinuxPersonality) error {
	domains := [...]specs.LinuxPersonalityDomain{plan.PerLinux: specs.PerLinux, plan.PerLinux32: specs.PerLinux32}
	if o == nil {
		return nil
	}
	domain := slices.Index(domains[:], o.Domain)
	if o.Domain == "" || domain < 0 {
		return fmt.Errorf("domain %q: want LINUX or LINUX32", o.Domain)
	}
	if len(o.Flags) > 0 {
		return fmt.Errorf("flag %q: the specification has no flags", o.Flags[0])
	}
	p.Section(chapter, "personality")
	p.Add(plan.Personality(domain).Hint(unix.EINVAL, "this processor runs no programs of 32 bits"))
	return nil
}

// parseNumbers reads a list of processors or nodes, "0-3,7", all below limit, as a
// mask: "List format" in cpuset(7).
func parseNumbers(list string, limit int) (mask []uint64, err error) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err1 != nil || err2 != nil || from > to || to >= uint64(limit) {
			return nil, hint.Add(fmt.Errorf("%q is not a list of numbers below %d", list, limit), "such as 0-3,7")
		}
		for n := from; n <= to; n++ {
			for uint64(len(mask)) <= n/64 {
				mask = append(mask, 0)
			}
			mask[n/64] |= 1 << (n % 64)
		}
	}
	return mask, nil
}
