package doctor

// This file checks the eight kinds of namespaces: man 7 namespaces.

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// namespace is one kind. Name is that of its file in /proc/PID/ns.
type namespace struct {
	name   string
	flag   uintptr
	config string // the kernel's build option
	spare  bool   // skiff runs containers without it as well
}

var namespaces = []namespace{
	{name: "mnt", flag: unix.CLONE_NEWNS},
	{name: "pid", flag: unix.CLONE_NEWPID, config: "CONFIG_PID_NS"},
	{name: "uts", flag: unix.CLONE_NEWUTS, config: "CONFIG_UTS_NS"},
	{name: "ipc", flag: unix.CLONE_NEWIPC, config: "CONFIG_IPC_NS"},
	{name: "net", flag: unix.CLONE_NEWNET, config: "CONFIG_NET_NS"},
	{name: "cgroup", flag: unix.CLONE_NEWCGROUP, config: "CONFIG_CGROUPS"},
	{name: "user", flag: unix.CLONE_NEWUSER, config: "CONFIG_USER_NS", spare: true},
	{name: "time", flag: unix.CLONE_NEWTIME, config: "CONFIG_TIME_NS", spare: true},
}

func namespaceChecks() []Check {
	var checks []Check
	for _, n := range namespaces {
		checks = append(checks, Check{"namespace " + n.name, 2, n.look})
	}
	return checks
}

func (n namespace) look(h Host) Result {
	outcome := h.Trials[n.name]
	switch {
	case !h.has("proc/self/ns/" + n.name):
		return n.lacking("not in this kernel", "take a kernel with "+n.config)
	case outcome == succeeded:
		return ok("a child made one")
	case strings.Contains(outcome, unix.ENOSPC.Error()):
		// More than the sysctl allows, or nested more than 32 deep.
		return n.lacking(outcome, fmt.Sprintf("sysctl user.max_%s_namespaces=15000", n.name))
	case !h.root():
		return skip("in the kernel; an ordinary user cannot make one: " + outcome)
	}
	return n.lacking(outcome, leaveSandbox)
}

// lacking is the result where the kind does not work.
func (n namespace) lacking(found, remedy string) Result {
	if n.spare {
		return warn(found, remedy)
	}
	return missing(found, remedy)
}
