package shortlived

import "unsafe"

// Go has a thread, sysmon, that sleeps for 20 µs, looks whether a goroutine waits in a
// system call that takes long, and sleeps again; when there was nothing to do for fifty
// times, longer, in the end for 10 ms (runtime/proc.go). So it runs some fifty times in the
// life of skiff-oci, and each time the processor goes from one thread to another and back.
//
// Each thread has a timer slack: by so much the kernel may let it sleep longer, so that it
// can wake several at once (PR_SET_TIMERSLACK(2const)). Here sysmon gets what it will grant
// itself in the end. Another thread must not have that: Go's scheduler sleeps for
// microseconds, too, and those that wait for it would be late.

// lateSlack is sysmon's timer slack, in nanoseconds: 10 ms.
const lateSlack = "10000000"

// System calls and their arguments: prctl(2), openat(2).
const (
	getTimerSlack = 30          // PR_GET_TIMERSLACK
	currentFolder = 1<<64 - 100 // AT_FDCWD
	writeOnly     = 0x1         // O_WRONLY
	closeOnExec   = 0x80000     // O_CLOEXEC
)

// callersSlack is what threads have: that of the caller.
var callersSlack int

// TimerSlack is that of the caller, in nanoseconds, which a process that is started
// shall have as well. A thread that sysmon has made has another.
func TimerSlack() uintptr { return uintptr(max(0, callersSlack)) }

// delaySysmon sets it: /proc/PID/timerslack_ns in proc_pid_timerslack_ns(5). That takes
// CAP_SYS_NICE; for who has not, all stays as it is.
func delaySysmon() {
	if callersSlack = call(sysPrctl, getTimerSlack, 0, 0, 0); callersSlack <= 0 {
		return // nobody could give it back
	}
	var threads [512]byte
	folder := open("/proc/self/task\x00", 0)
	if folder < 0 {
		return
	}
	n := call(sysGetdents64, uintptr(folder), uintptr(unsafe.Pointer(&threads)), uintptr(len(threads)), 0)
	call(sysClose, uintptr(folder), 0, 0, 0)
	if sysmon := secondThread(threads[:max(0, n)]); sysmon != "" {
		write("/proc/"+sysmon+"/timerslack_ns\x00", lateSlack)
	}
}

// secondThread is the number of the thread that was made after the main one, which is
// sysmon: runtime/proc.go, main. The kernel lists them in the order in which they were made:
// proc_task_readdir in fs/proc/base.c.
func secondThread(entries []byte) string {
	const length, name = 16, 19 // where they are in struct linux_dirent64: getdents(2)
	threads := 0
	for len(entries) > name {
		end := int(entries[length]) | int(entries[length+1])<<8
		text := entries[name:end]
		for i, b := range text {
			if b == 0 {
				text = text[:i]
				break
			}
		}
		if text[0] != '.' {
			threads++
		}
		if threads == 2 {
			return string(text)
		}
		entries = entries[end:]
	}
	return ""
}

// open opens a file; path ends with a zero. It returns a descriptor, or an error as a
// negative number.
func open(path string, flags uintptr) int {
	return call(sysOpenat, currentFolder, uintptr(unsafe.Pointer(unsafe.StringData(path))), flags|closeOnExec, 0)
}

// write writes text to the file at path, if it can.
func write(path, text string) {
	if file := open(path, writeOnly); file >= 0 {
		call(sysWrite, uintptr(file), uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text)), 0)
		call(sysClose, uintptr(file), 0, 0, 0)
	}
}
