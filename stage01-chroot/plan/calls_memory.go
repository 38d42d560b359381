package plan

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The memory of the process, and which program it says that it runs.

// Memory is a piece of the process's memory: whole pages. Plans print its name, since
// where it lies and how large it is differs from one build to the next.
type Memory struct {
	Name        string
	Start, Size uintptr // an address, and bytes
}

// size is how large it is, in the notation of C.
func (m Memory) size() Arg { return symbolArg{"sizeof " + m.Name, m.Size} }

func (m Memory) start() Arg { return symbolArg{m.Name, m.Start} }

// MoveMemory moves pages to where others are, which go: mremap(2).
func MoveMemory(from, to Memory) Step {
	return call("mremap", unix.SYS_MREMAP, []Arg{
		from.start(), from.size(), to.size(),
		symbolArg{"MREMAP_MAYMOVE|MREMAP_FIXED", unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED},
		to.start(),
	}, "move %s to %s", from.Name, to.Name)
}

// Unmap lets go of memory: munmap(2).
func Unmap(m Memory) Step {
	return call("munmap", unix.SYS_MUNMAP, []Arg{m.start(), m.size()}, "let go of %s", m.Name)
}

// mmMap is struct prctl_mm_map of the kernel's include/uapi/linux/prctl.h.
type mmMap struct {
	startCode, endCode, startData, endData uint64
	startBrk, brk, startStack              uint64
	argStart, argEnd, envStart, envEnd     uint64
	_                                      uint64 // auxv
	_, exe                                 uint32 // auxv_size, exe_fd
}

// mmMapArg is the address of such a structure, which has itself addresses in it.
type mmMapArg struct {
	exe     Descriptor
	command string
}

func (a mmMapArg) text(name Namer) string {
	return fmt.Sprintf("{arg_start=%s, exe_fd=%s}", quote(a.command), a.exe.text(name))
}

func (a mmMapArg) word(m memory) uintptr {
	at := uint64(keepString(m, a.command))
	end := at + uint64(len(a.command)) + 1
	return keep(m, mmMap{
		startCode: at, endCode: end, startData: at, endData: end, startBrk: end, brk: end, startStack: at,
		argStart: at, argEnd: end, envStart: end, envEnd: end, exe: uint32(a.exe.Number),
	})
}

// SetExe makes exe what /proc/PID/exe leads to, and command what /proc/PID/cmdline
// says: PR_SET_MM_MAP of PR_SET_MM(2const). No page of the file that was there before
// may still be mapped (EBUSY), and it takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
func SetExe(exe Descriptor, command string) Step {
	return prctl("PR_SET_MM", unix.PR_SET_MM, symbolArg{"PR_SET_MM_MAP", unix.PR_SET_MM_MAP},
		mmMapArg{exe, command}, intArg(unsafe.Sizeof(mmMap{})), intArg(0)).
		Doing("let /proc/self/exe lead to %s", exe)
}
