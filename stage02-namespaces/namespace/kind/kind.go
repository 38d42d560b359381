// Package kind is the table of the eight kinds of namespaces: namespaces(7). It
// stands below the packages that open and enter them (namespace) and that say
// why there are none (whynot).
package kind

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A Kind is one of the eight kinds of namespaces.
type Kind struct {
	Type specs.LinuxNamespaceType // its name in a container's configuration
	File string                   // its name below /proc/PID/ns, and in user.max_FILE_namespaces
	Flag int                      // CLONE_NEW…
	What string                   // what a process sees through it
}

// All returns the eight kinds, in the order in which they are looked at.
func All() []Kind {
	return []Kind{
		{specs.UserNamespace, "user", unix.CLONE_NEWUSER, "user and group ids, capabilities"},
		{specs.MountNamespace, "mnt", unix.CLONE_NEWNS, "mounts"},
		{specs.PIDNamespace, "pid", unix.CLONE_NEWPID, "process ids"},
		{specs.NetworkNamespace, "net", unix.CLONE_NEWNET, "interfaces, routes, ports, firewall"},
		{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC, "System V IPC, POSIX message queues"},
		{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS, "host name, domain name"},
		{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP, "the root of the cgroup tree"},
		{specs.TimeNamespace, "time", unix.CLONE_NEWTIME, "the monotonic and the boot clock"},
	}
}
