package plan

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan/machine"
)

// Files and directories: the calls that find, make and name them. Only the
// "at" forms are used: they exist on every architecture (arm64 has no
// mkdir(2)), and they take a directory descriptor, which nobody can swap.

// Chdir changes the current directory: chdir(2).
func Chdir(path string) Step {
	return call("chdir", unix.SYS_CHDIR, []Arg{stringArg(path)}, "change directory to %q", path)
}

// Fchdir changes the current directory to an open one: fchdir(2).
func Fchdir(fd FD) Step {
	return call("fchdir", unix.SYS_FCHDIR, []Arg{fd}, "change directory to %v", nameOf(fd))
}

// Chroot changes the root directory: chroot(2).
func Chroot(path string) Step {
	return call("chroot", unix.SYS_CHROOT, []Arg{stringArg(path)}, "change root to %q", path)
}

// Openat2 opens path below dir; how.Resolve says which links may be
// followed: openat2(2).
//
// With RESOLVE_IN_ROOT or RESOLVE_BENEATH the kernel cannot be sure of a ".." on
// the way while anything is renamed or mounted: it gives up (EAGAIN), and is
// asked again.
func Openat2(dir FD, path string, how unix.OpenHow) Step {
	show := func() string {
		mode := ""
		if how.Flags&unix.O_CREAT != 0 {
			mode = ", mode=" + modeArg(how.Mode).text(nil)
		}
		return "{flags=" + openText(how.Flags) + mode + ", resolve=" + resolveFlags.text(how.Resolve) + "}"
	}
	s := call("openat2", unix.SYS_OPENAT2, []Arg{
		dir, stringArg(path), structArg[unix.OpenHow]{show, how}, intArg(unix.SizeofOpenHow),
	}, "open %q", path)
	s.flow |= machine.Again
	return s
}

// Mkdirat makes a directory: mkdirat(2).
func Mkdirat(dir FD, path string, mode uint32) Step {
	return call("mkdirat", unix.SYS_MKDIRAT, []Arg{dir, stringArg(path), modeArg(mode)},
		"make directory %q", path)
}

// Mknodat makes a device node, a FIFO or an empty file; mode holds the type
// (S_IFCHR …) and the permissions: mknodat(2).
func Mknodat(dir FD, path string, mode uint32, dev uint64) Step {
	types := map[uint32]string{
		unix.S_IFREG: "S_IFREG", unix.S_IFCHR: "S_IFCHR", unix.S_IFBLK: "S_IFBLK", unix.S_IFIFO: "S_IFIFO",
		unix.S_IFSOCK: "S_IFSOCK",
	}
	kind := symbolArg{types[mode&unix.S_IFMT] + "|" + modeArg(mode&^unix.S_IFMT).text(nil), uintptr(mode)}
	args := []Arg{dir, stringArg(path), kind}
	if mode&unix.S_IFMT == unix.S_IFCHR || mode&unix.S_IFMT == unix.S_IFBLK {
		shown := fmt.Sprintf("makedev(%s, %s)", hexText(unix.Major(dev)), hexText(unix.Minor(dev)))
		args = append(args, symbolArg{shown, uintptr(dev)})
	}
	return call("mknodat", unix.SYS_MKNODAT, args, "make node %q", path)
}

// hexText is %#x of C, which writes no 0x before a zero.
func hexText(n uint32) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}

// Symlinkat makes a symbolic link at path that holds target: symlinkat(2).
func Symlinkat(target string, dir FD, path string) Step {
	return call("symlinkat", unix.SYS_SYMLINKAT, []Arg{stringArg(target), dir, stringArg(path)},
		"make symbolic link %q", path)
}

// Faccessat2 asks whether path may be executed by the effective user:
// faccessat2(2) with X_OK and AT_EACCESS.
func Faccessat2(dir FD, path string) Step {
	return call("faccessat2", unix.SYS_FACCESSAT2, []Arg{
		dir, stringArg(path), symbolArg{"X_OK", unix.X_OK}, flagsArg{atFlags, unix.AT_EACCESS},
	}, "find %q", path)
}

// Fchownat gives path to uid and gid without following a symbolic link:
// fchownat(2).
func Fchownat(dir FD, path string, uid, gid int) Step {
	return call("fchownat", unix.SYS_FCHOWNAT, []Arg{
		dir, stringArg(path), intArg(uid), intArg(gid), flagsArg{atFlags, unix.AT_SYMLINK_NOFOLLOW},
	}, "change owner of %q", path)
}

// Fchmodat sets the permissions of path: fchmodat(2), which follows a symbolic
// link. It is for what the plan itself has made.
func Fchmodat(dir FD, path string, mode uint32) Step {
	return call("fchmodat", unix.SYS_FCHMODAT, []Arg{dir, stringArg(path), modeArg(mode)},
		"change mode of %q", path)
}

// Utimensat sets the times of path without following a symbolic link:
// utimensat(2).
func Utimensat(dir FD, path string, accessed, modified unix.Timespec) Step {
	show := func() string { return "[" + timeText(accessed) + ", " + timeText(modified) + "]" }
	return call("utimensat", unix.SYS_UTIMENSAT, []Arg{
		dir, stringArg(path),
		structArg[[2]unix.Timespec]{show, [2]unix.Timespec{accessed, modified}},
		flagsArg{atFlags, unix.AT_SYMLINK_NOFOLLOW},
	}, "change times of %q", path)
}

// timeText is a struct timespec as strace prints it.
func timeText(t unix.Timespec) string { return fmt.Sprintf("{tv_sec=%d, tv_nsec=%d}", t.Sec, t.Nsec) }

// maxSendfile is what one sendfile(2) copies at most: 2 GiB less a page.
const maxSendfile = 0x7ffff000

// Sendfile copies from one open file to another, up to 2 GiB, from where both
// stand: sendfile(2). It stops early, without an error, when the disk is full;
// done again it then says why, and at the end of the file it copies nothing.
func Sendfile(to, from FD) Step {
	return call("sendfile", unix.SYS_SENDFILE, []Arg{to, from, null, intArg(maxSendfile)},
		"copy %v to %v", nameOf(from), nameOf(to))
}

// Umask sets the file mode creation mask: umask(2).
func Umask(mask uint32) Step {
	return call("umask", unix.SYS_UMASK, []Arg{modeArg(mask)}, "set umask %03o", mask)
}

// Close closes a descriptor: close(2).
func Close(fd FD) Step {
	return call("close", unix.SYS_CLOSE, []Arg{fd}, "close %v", nameOf(fd))
}

// CloseOnExec marks every descriptor from first on, so that none of them is
// there after execve(2): close_range(2). It is the answer to CVE-2024-21626,
// in which a container got at the host through a directory left open.
func CloseOnExec(first int) Step {
	const last = 1<<32 - 1
	return call("close_range", unix.SYS_CLOSE_RANGE, []Arg{
		intArg(first), intArg(last), symbolArg{"CLOSE_RANGE_CLOEXEC", unix.CLOSE_RANGE_CLOEXEC},
	}, "close descriptors from %d on at execve", first)
}

// CloseOthers gives the steps that close the descriptors from first on but those in
// keep: close_range(2), once for each gap.
func CloseOthers(first int, keep ...int) (steps []Step) {
	const last = 1<<32 - 1
	slices.Sort(keep)
	for _, k := range append(keep, last+1) {
		if first < k {
			steps = append(steps, call("close_range", unix.SYS_CLOSE_RANGE, []Arg{intArg(first), intArg(k - 1), intArg(0)},
				"close descriptors %d to %d", first, k-1))
		}
		first = max(first, k+1)
	}
	return steps
}

// HoldAlive moves the descriptor by whose closing the parent of a child knows that its
// plan is over to a number that is known before: reserved, which is open in the parent.
// It is closed on execve(2), or with the process.
func HoldAlive(p *Plan, reserved Descriptor) Step {
	return call("dup3", unix.SYS_DUP3, []Arg{p.Register(alive), reserved, symbolArg{"O_CLOEXEC", unix.O_CLOEXEC}},
		"hold what tells the parent that this goes on")
}

// Dup3 makes descriptor to refer to the file of from, and stay open across
// execve(2): dup3(2). from must differ from to.
func Dup3(from FD, to int) Step {
	return call("dup3", unix.SYS_DUP3, []Arg{from, intArg(to), intArg(0)}, "make %v descriptor %d", nameOf(from), to)
}

// Write writes text to fd, in one write(2).
func Write(fd FD, text string) Step {
	return call("write", unix.SYS_WRITE, []Arg{fd, dataArg(text), intArg(len(text))},
		"write %q to %v", text, nameOf(fd))
}

// ReadByte waits until somebody writes the byte want to the other end of the
// pipe or FIFO fd: read(2). When the last writer is gone instead, it fails
// with ECANCELED.
func ReadByte(fd FD, want byte) Step {
	s := call("read", unix.SYS_READ, []Arg{fd, bufferArg{quote(string(want)), 1}, intArg(1)},
		"wait at %v", nameOf(fd))
	s.flow |= machine.NonZero
	return s
}

// nameOf is how a sentence calls a descriptor.
func nameOf(fd FD) string { return fd.text(func(name string) string { return name }) }
