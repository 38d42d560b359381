package plan

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// How the process gets at processors, disks and memory beside others: sched(7),
// sched_setattr(2), sched_setaffinity(2), ioprio_set(2), set_mempolicy(2). Control
// groups limit how much it gets, these say when and where. All of it is inherited by
// its children, and survives execve(2).

// SchedSetattr sets the scheduling policy of this process: sched_setattr(2).
func SchedSetattr(attr unix.SchedAttr) Step {
	attr.Size = unix.SizeofSchedAttr
	return call("sched_setattr", unix.SYS_SCHED_SETATTR, []Arg{
		intArg(0), structArg[unix.SchedAttr]{func() string { return schedulerText(attr) }, attr}, intArg(0),
	}, "set scheduler %s", nameIn(schedulerPolicies[:], int(attr.Policy)))
}

// schedulerPolicies are the policies by number: sched(7).
var schedulerPolicies = [...]string{
	"SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE",
}

// SchedulerPolicy is the number of the policy with this name, SCHED_FIFO for
// example.
func SchedulerPolicy(name string) (policy int, ok bool) { return numberIn(schedulerPolicies[:], name) }

// The sched_flags of sched_setattr(2).
var schedulerFlags = flagSet{"0", []flagName{
	{"SCHED_FLAG_RESET_ON_FORK", 1 << 0},
	{"SCHED_FLAG_RECLAIM", 1 << 1},
	{"SCHED_FLAG_DL_OVERRUN", 1 << 2},
	{"SCHED_FLAG_KEEP_POLICY", schedKeepPolicy},
	{"SCHED_FLAG_KEEP_PARAMS", schedKeepParams},
	{"SCHED_FLAG_UTIL_CLAMP_MIN", 1 << 5},
	{"SCHED_FLAG_UTIL_CLAMP_MAX", 1 << 6},
}}

// With these the policy in the structure does not count, or nothing of it.
const schedKeepPolicy, schedKeepParams = 1 << 3, 1 << 4

// SchedulerFlag is the flag with this name, SCHED_FLAG_RECLAIM for example.
func SchedulerFlag(name string) (flag uint64, ok bool) { return schedulerFlags.bits(name) }

// schedulerText is a struct sched_attr as strace prints it: what counts of it.
func schedulerText(a unix.SchedAttr) string {
	policy, params := "", ""
	if a.Flags&(schedKeepPolicy|schedKeepParams) == 0 {
		policy = "sched_policy=" + nameIn(schedulerPolicies[:], int(a.Policy)) + ", "
	}
	if a.Flags&schedKeepParams == 0 {
		params = fmt.Sprintf("sched_nice=%d, sched_priority=%d, sched_runtime=%d, sched_deadline=%d, sched_period=%d, ",
			a.Nice, a.Priority, a.Runtime, a.Deadline, a.Period)
	}
	return fmt.Sprintf("{size=%d, %ssched_flags=%s, %ssched_util_min=%d, sched_util_max=%d}",
		a.Size, policy, schedulerFlags.text(a.Flags), params, a.Util_min, a.Util_max)
}

// SchedSetaffinity lets this process run on these processors only, bit n for
// number n: sched_setaffinity(2).
func SchedSetaffinity(cpus []uint64) Step {
	numbers := strings.Trim(fmt.Sprint(bitsOf(cpus)), "[]")
	return call("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, []Arg{
		intArg(0), intArg(8 * len(cpus)), listArg[uint64]{"[" + numbers + "]", cpus},
	}, "run on processors %s", numbers)
}

// bitsOf are the numbers of the bits that are set.
func bitsOf(mask []uint64) (numbers []int) {
	for i, word := range mask {
		for ; word != 0; word &= word - 1 {
			numbers = append(numbers, 64*i+bits.TrailingZeros64(word))
		}
	}
	return numbers
}

// ioPriorityClasses are the classes by number: ioprio_set(2).
var ioPriorityClasses = [...]string{"IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"}

// IOPriorityClass is the number of the class with this name, IOPRIO_CLASS_BE for
// example.
func IOPriorityClass(name string) (class int, ok bool) { return numberIn(ioPriorityClasses[:], name) }

// IoprioSet sets how urgent reading and writing of this process's group is:
// ioprio_set(2). A priority is 0, the highest, to 7 within its class.
func IoprioSet(class, priority int) Step {
	const group, classShift = 2, 13 // IOPRIO_WHO_PGRP, IOPRIO_CLASS_SHIFT
	name := nameIn(ioPriorityClasses[:], class)
	return call("ioprio_set", unix.SYS_IOPRIO_SET, []Arg{
		symbolArg{"IOPRIO_WHO_PGRP", group},
		intArg(0),
		symbolArg{fmt.Sprintf("IOPRIO_PRIO_VALUE(%s, %d)", name, priority), uintptr(class<<classShift | priority)},
	}, "set I/O priority %s %d", name, priority)
}

// memoryPolicies are the modes by number: set_mempolicy(2).
var memoryPolicies = [...]string{
	"MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED_MANY",
	"MPOL_WEIGHTED_INTERLEAVE",
}

// The mode flags of set_mempolicy(2).
var memoryPolicyFlags = flagSet{"", []flagName{
	{"MPOL_F_STATIC_NODES", 1 << 15},
	{"MPOL_F_RELATIVE_NODES", 1 << 14},
	{"MPOL_F_NUMA_BALANCING", 1 << 13},
}}

// MemoryPolicyMode is the number of the mode with this name, MPOL_BIND for example.
func MemoryPolicyMode(name string) (mode int, ok bool) { return numberIn(memoryPolicies[:], name) }

// MemoryPolicyFlag is the mode flag with this name, MPOL_F_STATIC_NODES for
// example.
func MemoryPolicyFlag(name string) (flag uint64, ok bool) { return memoryPolicyFlags.bits(name) }

// SetMempolicy says from which NUMA nodes this process gets memory, bit n for node
// n: set_mempolicy(2).
func SetMempolicy(mode int, flags uint64, nodes []uint64) Step {
	name := nameIn(memoryPolicies[:], mode) + memoryPolicyFlags.text(flags)
	list, size := Arg(null), 0
	if len(nodes) > 0 {
		words := make([]string, len(nodes))
		for i, w := range nodes {
			words[i] = fmt.Sprintf("0x%014x", w)
		}
		// The kernel takes one off the number of bits.
		list, size = listArg[uint64]{"[" + strings.Join(words, ", ") + "]", nodes}, 64*len(nodes)+1
	}
	return call("set_mempolicy", unix.SYS_SET_MEMPOLICY, []Arg{
		symbolArg{name, uintptr(mode) | uintptr(flags)}, list, intArg(size),
	}, "set memory policy %s", name)
}

// numberIn is the place of a name in a table.
func numberIn(names []string, name string) (number int, ok bool) {
	number = slices.Index(names, name)
	return number, number >= 0
}

// nameIn is the name with this number in a table, or the number.
func nameIn(names []string, number int) string {
	if number >= 0 && number < len(names) {
		return names[number]
	}
	return fmt.Sprint(number)
}

// bits are those of the flag with this name.
func (s flagSet) bits(name string) (bits uint64, ok bool) {
	i := slices.IndexFunc(s.names, func(f flagName) bool { return f.name == name })
	if i < 0 {
		return 0, false
	}
	return s.names[i].bits, true
}
