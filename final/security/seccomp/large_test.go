package seccomp_test

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A profile of the size and form that engines use: it allows what programs need,
// forbids the rest, and looks at the arguments of some calls.

// forbidden are the calls that such profiles leave out: they are about the whole
// machine, or old, or the way into the kernel of many an attack.
const forbidden = `_sysctl acct add_key bdflush bpf clock_adjtime clock_settime create_module delete_module fanotify_init
finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module io_uring_enter io_uring_register
io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind migrate_pages mount mount_setattr
move_mount move_pages nfsservctl open_by_handle_at open_tree perf_event_open pivot_root process_vm_readv process_vm_writev ptrace
query_module quotactl reboot request_key set_mempolicy setdomainname sethostname setns settimeofday stime swapoff swapon sysfs
umount umount2 unshare uselib userfaultfd ustat vm86 vm86old vhangup syslog`

// large is a profile of about 400 names for three architectures.
func large() *specs.LinuxSeccomp {
	others := append(strings.Fields(forbidden), "personality", "socket", "clone", "clone3")
	var names []string
	for _, a := range arches()[:4] {
		for name := range a.Calls {
			if !slices.Contains(others, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	enosys, value := uint(38), func(op specs.LinuxSeccompOperator, index uint, value, two uint64) []specs.LinuxSeccompArg {
		return []specs.LinuxSeccompArg{{Index: index, Op: op, Value: value, ValueTwo: two}}
	}
	s := &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
		Syscalls: []specs.LinuxSyscall{
			{Names: names, Action: specs.ActAllow},
			{Names: []string{"socket"}, Action: specs.ActAllow, Args: value(specs.OpNotEqual, 0, 40, 0)},
			{Names: []string{"clone"}, Action: specs.ActAllow, Args: value(specs.OpMaskedEqual, 0, 0x7e020000, 0)},
			{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys},
		},
	}
	for _, p := range []uint64{0, 8, 0x20000, 0x20008, 0xffffffff} {
		s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"personality"}, Action: specs.ActAllow, Args: value(specs.OpEqualTo, 0, p, 0)})
	}
	return s
}
