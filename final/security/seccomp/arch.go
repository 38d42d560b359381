package seccomp

import (
	"fmt"
	"runtime"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// The conventions by which a process can make system calls, several on one
// machine: a kernel for x86-64 also runs programs for i386 (int 0x80) and, if it
// was built so, for x32. Each has numbers of its own, so that a filter which
// looks only at the number can be deceived: seccomp(2), "CAVEATS".

// An arch is one of them.
type arch struct {
	name  specs.Arch
	audit uint32 // AUDIT_ARCH_*, in seccomp_data.arch
	table string // its calls, see eachCall
	wide  bool   // arguments have 64 bits
}

// arches are those of the specification that this package has tables for.
var arches = [...]arch{
	{specs.ArchX86_64, unix.AUDIT_ARCH_X86_64, callsX86_64, true},
	{specs.ArchX86, unix.AUDIT_ARCH_I386, callsX86, false},
	{specs.ArchX32, unix.AUDIT_ARCH_X86_64, callsX86_64, false},
	{specs.ArchARM, unix.AUDIT_ARCH_ARM, callsARM, false},
	{specs.ArchAARCH64, unix.AUDIT_ARCH_AARCH64, callsAArch64, true},
	{specs.ArchLOONGARCH64, unix.AUDIT_ARCH_LOONGARCH64, callsLoongArch64, true},
	{specs.ArchMIPS, unix.AUDIT_ARCH_MIPS, callsMIPS, false},
	{specs.ArchMIPSEL, unix.AUDIT_ARCH_MIPSEL, callsMIPS, false},
	{specs.ArchMIPS64, unix.AUDIT_ARCH_MIPS64, callsMIPS64, true},
	{specs.ArchMIPSEL64, unix.AUDIT_ARCH_MIPSEL64, callsMIPS64, true},
	{specs.ArchPPC, unix.AUDIT_ARCH_PPC, callsPPC, false},
	{specs.ArchPPC64, unix.AUDIT_ARCH_PPC64, callsPPC64, true},
	{specs.ArchPPC64LE, unix.AUDIT_ARCH_PPC64LE, callsPPC64, true},
	{specs.ArchRISCV64, unix.AUDIT_ARCH_RISCV64, callsRISCV64, true},
	{specs.ArchS390X, unix.AUDIT_ARCH_S390X, callsS390X, true},
}

// native is the architecture that this program was built for. A filter always
// has it: without, it would end the container's process at its first call.
func native() specs.Arch {
	if runtime.GOARCH == "arm64" {
		return specs.ArchAARCH64
	}
	return specs.ArchX86_64
}

// archesOf finds the architectures of a profile, the native one first, because
// nearly all calls are made by it.
func archesOf(names []specs.Arch) (found []*arch, err error) {
	seen := map[specs.Arch]bool{}
	for _, name := range append([]specs.Arch{native()}, names...) {
		if seen[name] {
			continue
		}
		seen[name] = true
		a := archOf(name)
		if a == nil {
			return nil, hint.Add(fmt.Errorf("architectures: %q: no such architecture, or none whose calls skiff knows", name),
				"leave out what this machine's kernel does not run")
		}
		found = append(found, a)
	}
	return found, nil
}

// archOf finds an architecture by its name, or returns nil.
func archOf(name specs.Arch) *arch {
	for i := range arches {
		if arches[i].name == name {
			return &arches[i]
		}
	}
	return nil
}

// eachCall calls f with each call of a table of tables.go, by rising number.
func eachCall(table string, f func(name string, number uint32)) {
	number := uint32(0)
	for word := range strings.FieldsSeq(table) {
		if word[0] < '0' || word[0] > '9' {
			f(word, number)
			number++
			continue
		}
		number = 0
		for _, digit := range []byte(word) {
			number = 10*number + uint32(digit-'0')
		}
	}
}

// The calls of x32 are those of x86-64 with this bit in their number, save the
// ones whose structures hold pointers or longs, which have numbers of their own
// from 512 on, and some that it has not: arch/x86/entry/syscalls/syscall_64.tbl.
const (
	x32Bit   = 1 << 30 // __X32_SYSCALL_BIT
	callsX32 = `512 rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace rt_sigpending
rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid set_robust_list get_robust_list
vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg process_vm_readv process_vm_writev setsockopt
getsockopt io_setup io_submit execveat preadv2 pwritev2`
	callsNotX32 = `uselib _sysctl create_module get_kernel_syms query_module nfsservctl set_thread_area get_thread_area
epoll_ctl_old epoll_wait_old vserver uretprobe uprobe`
)

// eachCall calls f with each call of the architecture, by rising number.
func (a *arch) eachCall(f func(name string, number uint32)) {
	if a.name != specs.ArchX32 {
		eachCall(a.table, f)
		return
	}
	other := map[string]bool{}
	eachCall(callsX32, func(name string, _ uint32) { other[name] = true })
	eachCall(callsNotX32, func(name string, _ uint32) { other[name] = true })
	eachCall(a.table, func(name string, number uint32) {
		if !other[name] {
			f(name, x32Bit|number)
		}
	})
	eachCall(callsX32, func(name string, number uint32) { f(name, x32Bit|number) })
}

// inAnyTable tells whether some architecture has a call of this name.
func inAnyTable(name string) (found bool) {
	for i := range arches {
		eachCall(arches[i].table, func(n string, _ uint32) { found = found || n == name })
	}
	return found
}

// Two calls of old architectures stand for many others: their first argument
// says which, and the others are in memory, where a filter cannot look. What a
// profile says about bind(2) it means for socketcall(2) with the first argument
// 2, too: socketcall(2), ipc(2).
const (
	callsSocketcall = `1 socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom
shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg`
	callsIPC = `1 semop semget semctl semtimedop 11 msgsnd msgrcv msgget msgctl 21 shmat shmdt shmget shmctl`
)

// multiplexed is the decision about socketcall or ipc, or nil if the profile has
// nothing to say about it. A rule with conditions, which cannot be tested, counts
// if it restricts, and does not count if it allows.
func (p *profile) multiplexed(name, table string) *decision {
	d := decision{action: p.others}
	own := p.calls[name]
	if own != nil {
		d = *own
	}
	eachCall(table, func(member string, number uint32) {
		of := p.calls[member]
		if of == nil {
			return
		}
		which := [][]specs.LinuxSeccompArg{{{Index: 0, Value: uint64(number), Op: specs.OpEqualTo}}}
		for _, r := range of.rules {
			if stricter(r.action, p.others) {
				d.add(&rule{r.action, which}, p.others)
			}
		}
		if of.fixed {
			d.add(&rule{of.action, which}, p.others)
		}
	})
	if own == nil && len(d.rules) == 0 {
		return nil
	}
	return &d
}
