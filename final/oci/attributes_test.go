package oci_test

import (
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/namespace"
)

// lacks fails the test if the text has one of these parts.
func lacks(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%q is in:\n%s", part, text)
		}
	}
}

// textOf is the plan of a configuration that is valid, as text.
func textOf(t *testing.T, change func(*specs.Spec)) string {
	t.Helper()
	if _, _, err := oci.Load(bundle(t, changed(t, change))); err != nil {
		t.Fatalf("the configuration is refused: %v", err)
	}
	p, err := planOf(t, change)
	if err != nil {
		t.Fatal(err)
	}
	return p.String()
}

// In its cgroup and namespaces, and before it gives away the rights that they need.
func TestAttributesComeWhereTheProcessHasItsPlaceAndStillItsRights(t *testing.T) {
	text := textOf(t, func(s *specs.Spec) {
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedFIFO, Priority: 7, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
		s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_RT, Priority: 2}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
	})
	inOrder(t, text,
		"# enter the cgroups", "setsid()", "pivot_root",
		"sched_setattr(0, {size=56, sched_policy=SCHED_FIFO, sched_flags=SCHED_FLAG_RESET_ON_FORK, sched_nice=0, sched_priority=7,",
		"ioprio_set(IOPRIO_WHO_PGRP, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 2))",
		"set_mempolicy(MPOL_BIND|MPOL_F_STATIC_NODES, [0x00000000000001], 65)",
		"personality(PER_LINUX32)",
		"PR_CAPBSET_DROP", "setresuid", "# wait for start",
	)
}

func TestWhatIsNotAskedForIsLeftAsItIs(t *testing.T) {
	lacks(t, textOf(t, func(*specs.Spec) {}),
		"sched_set", "ioprio_set", "set_mempolicy", "personality", "keyctl", "attr/", "context")
}

// runtime-spec config.md: execCPUAffinity "is not applicable to the container's init
// process"; but what is no list of processors is noticed at create.
func TestTheAffinityOfExecIsNotThatOfTheFirstProcess(t *testing.T) {
	lacks(t, textOf(t, func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0-1"} }), "sched_setaffinity")
}

func TestEverySchedulingPolicy(t *testing.T) {
	for want, s := range map[string]specs.Scheduler{
		"sched_policy=SCHED_OTHER, sched_flags=0, sched_nice=-20":                                {Policy: specs.SchedOther, Nice: -20},
		"sched_policy=SCHED_BATCH, sched_flags=0, sched_nice=19":                                 {Policy: specs.SchedBatch, Nice: 19},
		"sched_policy=SCHED_IDLE":                                                                {Policy: specs.SchedIdle},
		"sched_policy=SCHED_ISO":                                                                 {Policy: specs.SchedISO},
		"sched_policy=SCHED_RR, sched_flags=0, sched_nice=0, sched_priority=99":                  {Policy: specs.SchedRR, Priority: 99},
		"sched_flags=SCHED_FLAG_KEEP_POLICY|SCHED_FLAG_UTIL_CLAMP_MIN|SCHED_FLAG_UTIL_CLAMP_MAX": {Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagKeepPolicy, specs.SchedFlagUtilClampMin, specs.SchedFlagUtilClampMax}},
		"sched_flags=SCHED_FLAG_KEEP_PARAMS":                                                     {Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagKeepParams}},
		"sched_flags=SCHED_FLAG_RECLAIM|SCHED_FLAG_DL_OVERRUN, sched_nice=0, sched_priority=0, sched_runtime=1, sched_deadline": {Policy: specs.SchedDeadline, Runtime: 1, Deadline: 2, Period: 3, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagReclaim, specs.SchedFlagDLOverrun}},
	} {
		inOrder(t, textOf(t, func(c *specs.Spec) { c.Process.Scheduler = &s }), "sched_setattr(0, {size=56, ", want)
	}
}

func TestEveryMemoryPolicy(t *testing.T) {
	for want, m := range map[string]specs.LinuxMemoryPolicy{
		"MPOL_DEFAULT, NULL, 0)":                  {Mode: specs.MpolDefault},
		"MPOL_LOCAL, NULL, 0)":                    {Mode: specs.MpolLocal},
		"MPOL_PREFERRED, NULL, 0)":                {Mode: specs.MpolPreferred},
		"MPOL_PREFERRED, [0x00000000000002], 65)": {Mode: specs.MpolPreferred, Nodes: "1"},
		"MPOL_PREFERRED_MANY|MPOL_F_NUMA_BALANCING, [0x0000000000000b, 0x00000000000001], 129)": {Mode: specs.MpolPreferredMany, Nodes: "0-1,3,64", Flags: []specs.MemoryPolicyFlagType{specs.MpolFNumaBalancing}},
		"MPOL_INTERLEAVE|MPOL_F_RELATIVE_NODES, [0x00000000000003], 65)":                        {Mode: specs.MpolInterleave, Nodes: "0,1", Flags: []specs.MemoryPolicyFlagType{specs.MpolFRelativeNodes}},
		"MPOL_WEIGHTED_INTERLEAVE, [0x00000000000001], 65)":                                     {Mode: specs.MpolWeightedInterleave, Nodes: "0"},
		"MPOL_BIND, [0x00000000000000, 0x8000000000000000], 129)":                               {Mode: specs.MpolBind, Nodes: "127"},
	} {
		inOrder(t, textOf(t, func(s *specs.Spec) { s.Linux.MemoryPolicy = &m }), "set_mempolicy("+want)
	}
}

// What no kernel would take is an error before anything is made; the error names the
// field.
func TestAttributesThatCannotBeAreRefused(t *testing.T) {
	scheduler := func(c specs.Scheduler) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.Scheduler = &c }
	}
	priority := func(c specs.LinuxIOPriority) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.IOPriority = &c }
	}
	memory := func(c specs.LinuxMemoryPolicy) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.MemoryPolicy = &c }
	}
	affinity := func(c specs.CPUAffinity) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.ExecCPUAffinity = &c }
	}
	flags := func(all ...specs.MemoryPolicyFlagType) []specs.MemoryPolicyFlagType { return all }
	for _, c := range []struct {
		want   string
		change func(*specs.Spec)
	}{
		{`process.scheduler: policy "" is not known`, scheduler(specs.Scheduler{})},
		{`process.scheduler: policy "SCHED_LUCK" is not known`, scheduler(specs.Scheduler{Policy: "SCHED_LUCK"})},
		{`process.scheduler: nice 20: want -20 to 19`, scheduler(specs.Scheduler{Policy: specs.SchedOther, Nice: 20})},
		{`process.scheduler: nice -21`, scheduler(specs.Scheduler{Policy: specs.SchedOther, Nice: -21})},
		{`process.scheduler: priority 0: SCHED_FIFO wants 1 to 99`, scheduler(specs.Scheduler{Policy: specs.SchedFIFO})},
		{`process.scheduler: priority 100: SCHED_RR wants`, scheduler(specs.Scheduler{Policy: specs.SchedRR, Priority: 100})},
		{`process.scheduler: priority 1: only SCHED_FIFO and SCHED_RR`, scheduler(specs.Scheduler{Policy: specs.SchedOther, Priority: 1})},
		{`are for SCHED_DEADLINE only`, scheduler(specs.Scheduler{Policy: specs.SchedOther, Period: 1})},
		{`process.scheduler: flag "SCHED_FLAG_FUN" is not known`, scheduler(specs.Scheduler{Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{"SCHED_FLAG_FUN"}})},
		{`process.ioPriority: class ""`, priority(specs.LinuxIOPriority{})},
		{`process.ioPriority: class "IOPRIO_CLASS_NONE"`, priority(specs.LinuxIOPriority{Class: "IOPRIO_CLASS_NONE"})},
		{`process.ioPriority: priority 8: want 0 to 7`, priority(specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 8})},
		{`process.ioPriority: priority -1`, priority(specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: -1})},
		{`linux.memoryPolicy: mode "" is not known`, memory(specs.LinuxMemoryPolicy{})},
		{`linux.memoryPolicy: MPOL_DEFAULT takes no nodes`, memory(specs.LinuxMemoryPolicy{Mode: specs.MpolDefault, Nodes: "0"})},
		{`linux.memoryPolicy: MPOL_LOCAL takes no flags`, memory(specs.LinuxMemoryPolicy{Mode: specs.MpolLocal, Flags: flags(specs.MpolFStaticNodes)})},
		{`linux.memoryPolicy: MPOL_BIND needs nodes`, memory(specs.LinuxMemoryPolicy{Mode: specs.MpolBind})},
		{`linux.memoryPolicy: flag "MPOL_F_FUN" is not known`, memory(specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: flags("MPOL_F_FUN")})},
		{`exclude each other`, memory(specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: flags(specs.MpolFStaticNodes, specs.MpolFRelativeNodes)})},
		{`MPOL_F_NUMA_BALANCING is for`, memory(specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0", Flags: flags(specs.MpolFNumaBalancing)})},
		{`linux.memoryPolicy: nodes: "1-0" is not a list of numbers below 1024`, memory(specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "1-0"})},
		{`"0,1024" is not a list`, memory(specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0,1024"})},
		{`process.execCPUAffinity.initial: "a" is not a list`, affinity(specs.CPUAffinity{Initial: "a"})},
		{`process.execCPUAffinity.final: "0,,1" is not a list`, affinity(specs.CPUAffinity{Final: "0,,1"})},
		{`process.execCPUAffinity.final: "0-8192" is not a list of numbers below 8192`, affinity(specs.CPUAffinity{Final: "0-8192"})},
		{`linux.personality: domain ""`, func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{} }},
		{`linux.personality: domain "BSD": want LINUX or LINUX32`, func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "BSD"} }},
		{`linux.personality: flag "ADDR_NO_RANDOMIZE"`, func(s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: "LINUX", Flags: []specs.LinuxPersonalityFlag{"ADDR_NO_RANDOMIZE"}}
		}},
		{`linux.intelRdt.closID ".."`, func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: ".."} }},
		{`linux.netDevices: "a/b" is not the name of a network device`, func(s *specs.Spec) {
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a/b": {}}
		}},
		{`linux.netDevices: "sixteen--letters" is not`, func(s *specs.Spec) {
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth0": {Name: "sixteen--letters"}}
		}},
		{`linux.netDevices: linux.namespaces has no network namespace`, func(s *specs.Spec) {
			without(specs.NetworkNamespace)(s)
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth0": {}}
		}},
	} {
		t.Run(c.want, func(t *testing.T) {
			_, _, err := oci.Load(bundle(t, changed(t, c.change)))
			refused(t, err, c.want)
		})
	}
}

// A container that is less confined than it was told to be is refused, as by runc; a
// label for files is no confinement, and left out with a warning, as by crun.
func TestLabelsWithoutASecurityModule(t *testing.T) {
	for field, change := range map[string]func(*specs.Spec){
		"process.apparmorProfile": func(s *specs.Spec) { s.Process.ApparmorProfile = "nothing-like-this" },
		"process.selinuxLabel":    func(s *specs.Spec) { s.Process.SelinuxLabel = "system_u:system_r:svirt_lxc_net_t:s0:c124,c675" },
	} {
		_, err := planOf(t, change)
		if err == nil {
			continue // a machine that has the module: see labels_internal_test.go
		}
		refused(t, err, field, "or it is switched off")
		if !strings.Contains(hint.Of(err), "can do without") {
			t.Errorf("the hint is %q", hint.Of(err))
		}
	}
	if _, err := planOf(t, func(s *specs.Spec) { s.Process.ApparmorProfile = "unconfined" }); err != nil {
		t.Errorf("no profile is no profile, with AppArmor or without: %v", err)
	}
}

// The initial processors are for the way into the container's cgroup, the final ones
// for what comes after it. All else is as for the first process.
func TestExecGetsTheSameAttributesAndItsAffinity(t *testing.T) {
	set, err := namespace.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := oci.Default()
	spec.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0-1,64"}
	spec.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch}
	spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux}
	c := oci.Container{
		Spec: spec, Namespaces: set, Init: os.Getpid(), Keyring: oci.Keyring("box"),
		Entrances: []string{"/sys/fs/cgroup/memory/box/tasks"},
	}
	p, _, err := c.ExecPlan()
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, p.String(), "sched_setaffinity(0, 8, [0])", "# enter the cgroups", `KEYCTL_JOIN_SESSION_KEYRING, "_ses.box"`,
		"sched_setaffinity(0, 16, [0 1 64])", "SCHED_BATCH", "personality(PER_LINUX)", "execve")
}
