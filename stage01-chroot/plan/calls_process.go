package plan

import (
	"fmt"
	"math/bits"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan/machine"
)

// The process itself: its namespaces, names, limits, signals, and at the end
// its program. Credentials are in calls_credentials.go.

// Unshare moves the process to new namespaces: unshare(2). For those of pid and
// time it is not the process that moves, but its children will: see
// CloneSibling.
func Unshare(flags int) Step {
	return call("unshare", unix.SYS_UNSHARE, []Arg{flagsArg{cloneFlags, uint64(flags)}},
		"unshare %s", cloneFlags.text(uint64(flags)))
}

// Setns joins namespaces of these kinds: setns(2). fd is a namespace file, and
// flags its kind, or fd is a pidfd, and flags the kinds to take from that
// process, all of them or none. A user namespace is only for a process of one
// thread, and a process keeps its ids when it joins one.
func Setns(fd FD, flags int) Step {
	return call("setns", unix.SYS_SETNS, []Arg{fd, flagsArg{cloneFlags, uint64(flags)}},
		"join namespace %s of %s", cloneFlags.text(uint64(flags)), nameOf(fd))
}

// CloneSibling starts a process that goes on with the plan, while the caller
// exits. A process never changes its own pid namespace, and enters no new time
// namespace: only its children do (pid_namespaces(7), time_namespaces(7)). The
// new process is a child of the caller's parent: clone(2), CLONE_PARENT.
func CloneSibling() Step {
	// The kernel takes the flags first, strace prints them last.
	s := call("clone", unix.SYS_CLONE, []Arg{
		symbolArg{"child_stack=NULL", uintptr(unix.CLONE_PARENT | int(unix.SIGCHLD))},
		symbolArg{"flags=CLONE_PARENT|SIGCHLD", 0},
	}, "clone the process that goes on")
	s.flow |= machine.Split
	return s
}

// Sethostname sets the host name of the uts namespace: sethostname(2).
func Sethostname(name string) Step {
	return call("sethostname", unix.SYS_SETHOSTNAME, []Arg{stringArg(name), intArg(len(name))},
		"set host name %q", name)
}

// Setdomainname sets the NIS domain name: setdomainname(2).
func Setdomainname(name string) Step {
	return call("setdomainname", unix.SYS_SETDOMAINNAME, []Arg{stringArg(name), intArg(len(name))},
		"set domain name %q", name)
}

// Setsid starts a new session, without a terminal: setsid(2).
func Setsid() Step { return call("setsid", unix.SYS_SETSID, nil, "start a session") }

// ControllingTerminal makes descriptor fd the terminal of the session:
// ioctl(TIOCSCTTY), see tty_ioctl(4).
func ControllingTerminal(fd FD) Step {
	return call("ioctl", unix.SYS_IOCTL, []Arg{fd, symbolArg{"TIOCSCTTY", unix.TIOCSCTTY}, intArg(0)},
		"make %s the controlling terminal", nameOf(fd))
}

// Setpgid starts a process group of its own, with this process's id: setpgid(2).
func Setpgid() Step {
	return call("setpgid", unix.SYS_SETPGID, []Arg{intArg(0), intArg(0)}, "start a process group")
}

// Foreground puts a process group of this session into the foreground of the
// terminal fd: ioctl(TIOCSPGRP), see tcsetpgrp(3). From the background that takes
// SIGTTOU to be blocked, which it is while a plan runs.
func Foreground(fd FD, group int) Step {
	show := func() string { return fmt.Sprintf("[%d]", group) }
	return call("ioctl", unix.SYS_IOCTL, []Arg{
		fd, symbolArg{"TIOCSPGRP", unix.TIOCSPGRP}, structArg[int32]{show, int32(group)},
	}, "put process group %d into the foreground of %s", group, nameOf(fd))
}

// Prlimit sets a resource limit of this process: prlimit(2).
func Prlimit(resource int, limit unix.Rlimit) Step {
	name := nameIn(rlimitNames[:], resource)
	show := func() string {
		return fmt.Sprintf("{rlim_cur=%s, rlim_max=%s}", rlimitText(limit.Cur), rlimitText(limit.Max))
	}
	return call("prlimit64", unix.SYS_PRLIMIT64, []Arg{
		intArg(0), symbolArg{name, uintptr(resource)}, structArg[unix.Rlimit]{show, limit}, null,
	}, "set %s to %s (hard limit %s)", name, rlimitText(limit.Cur), rlimitText(limit.Max))
}

// rlimitNames are the names of the resources, by number: getrlimit(2).
var rlimitNames = [...]string{
	"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS",
	"RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING",
	"RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
}

// RlimitNumber is the number of the resource with this name, RLIMIT_NOFILE
// for example; ok is false when there is none.
func RlimitNumber(name string) (resource int, ok bool) {
	return numberIn(rlimitNames[:], name)
}

// rlimitText writes a limit as strace does: in units of 1024 where it is a
// multiple of that.
func rlimitText(v uint64) string {
	switch {
	case v == unix.RLIM_INFINITY:
		return "RLIM64_INFINITY"
	case v > 1024 && v%1024 == 0:
		return fmt.Sprintf("%d*1024", v/1024)
	}
	return fmt.Sprint(v)
}

// SetSignalMask sets which signals are blocked: rt_sigprocmask(2). Launching
// blocks all of them, so that no handler of the parent's runs in the child;
// this undoes it right before execve(2), which resets the handlers.
func SetSignalMask(mask uint64) Step {
	const kernelMaskSize = 8
	return call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, []Arg{
		symbolArg{"SIG_SETMASK", unix.SIG_SETMASK},
		structArg[uint64]{func() string { return signalSetText(mask) }, mask},
		null, intArg(kernelMaskSize),
	}, "set signal mask")
}

// signalSetText writes a set of signals as strace does: [INT TERM], or its
// complement with a tilde when that is shorter.
func signalSetText(mask uint64) string {
	if bits.OnesCount64(mask) > 32 {
		return "~" + signalSetText(^mask)
	}
	var names []string
	for n := 1; n <= 64; n++ {
		if mask&(1<<(n-1)) == 0 {
			continue
		}
		name := strings.TrimPrefix(unix.SignalName(unix.Signal(n)), "SIG")
		switch {
		case n == 32:
			name = "RTMIN"
		case name == "":
			name = fmt.Sprintf("RT_%d", n-32)
		}
		names = append(names, name)
	}
	return "[" + strings.Join(names, " ") + "]"
}

// Execve runs the program at path: execve(2). When it succeeds the plan is
// over, and the program has what the plan has made.
func Execve(path string, argv, envp []string) Step {
	return call("execve", unix.SYS_EXECVE, []Arg{stringArg(path), stringsArg(argv), stringsArg(envp)},
		"execute %q", path)
}

// Exit ends the process: exit_group(2). A plan that does not execute a
// program ends with it.
func Exit(status int) Step {
	return call("exit_group", unix.SYS_EXIT_GROUP, []Arg{intArg(status)}, "exit with status %d", status)
}

// LoopbackUp gives the steps that switch on the loopback interface, which is
// down in a new network namespace: socket(2), ioctl(SIOCSIFFLAGS) of
// netdevice(7).
func LoopbackUp(p *Plan) []Step {
	socket := p.Register("socket")
	request, _ := unix.NewIfreq("lo") // fails only for names of 16 bytes or more
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return []Step{
		call("socket", unix.SYS_SOCKET, []Arg{
			symbolArg{"AF_INET", unix.AF_INET},
			symbolArg{"SOCK_DGRAM|SOCK_CLOEXEC", unix.SOCK_DGRAM | unix.SOCK_CLOEXEC},
			symbolArg{"IPPROTO_IP", 0},
		}, "open a socket").Into(socket),
		call("ioctl", unix.SYS_IOCTL, []Arg{
			socket,
			symbolArg{"SIOCSIFFLAGS", unix.SIOCSIFFLAGS},
			structArg[unix.Ifreq]{fixed(`{ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING}`), *request},
		}, `switch on interface "lo"`),
		Close(socket),
	}
}
