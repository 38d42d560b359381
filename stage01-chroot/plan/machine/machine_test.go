package machine_test

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan/machine"
)

// op is a call with numbers for arguments and nothing special about it.
func op(number uintptr, args ...uintptr) machine.Op {
	o := machine.Op{Number: number, Into: machine.None, When: machine.None, Unless: machine.None, Log: machine.None}
	copy(o.Args[:], args)
	return o
}

// loop runs ops with as many registers as given and returns the page.
func loop(registers []uintptr, ops ...machine.Op) (*machine.Page, bool) {
	page := machine.NewPage(len(ops))
	page.Timed = 1
	done := machine.Loop(&ops[0], len(ops), &registers[0], page)
	return page, done
}

// noCall is the number of no system call.
const noCall = ^uintptr(0)

func TestTheLoopStopsAtTheFirstFailure(t *testing.T) {
	page, done := loop([]uintptr{0}, op(unix.SYS_GETPID), op(noCall), op(unix.SYS_GETPID))
	if step, errno := page.Report(); done || step != 1 || errno != syscall.ENOSYS {
		t.Errorf("done %v, step %d, %v", done, step, errno)
	}
}

func TestARegisterHoldsAResultOrANegativeErrno(t *testing.T) {
	registers := []uintptr{0, 0, 0}
	pid := op(unix.SYS_GETPID)
	pid.Into = 0
	fails := op(noCall)
	fails.Into, fails.Accept[2] = 1, syscall.ENOSYS
	copied := op(unix.SYS_GETPGID, 0) // of the process whose number is in register 0
	copied.FromRegister, copied.Into = 1, 2
	if _, done := loop(registers, pid, fails, copied); !done {
		t.Fatal("not done")
	}
	if int(registers[0]) != syscall.Getpid() || int(registers[1]) != -int(syscall.ENOSYS) || int(registers[2]) != syscall.Getpgrp() {
		t.Errorf("registers %d", registers)
	}
}

func TestZeroIsAFailureWhereItIsCalledOne(t *testing.T) {
	zero := op(unix.SYS_UMASK, 0o22)
	zero.Flow = machine.NonZero
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	if page, done := loop([]uintptr{0}, zero); done || page.Errno != int64(syscall.ECANCELED) {
		t.Errorf("done %v, errno %d", done, page.Errno)
	}
}

func TestTheTimeOfEachCallIsNoted(t *testing.T) {
	skipped := op(unix.SYS_GETPID)
	skipped.When = 0
	page, _ := loop([]uintptr{^uintptr(0)}, op(unix.SYS_GETPID), skipped, op(unix.SYS_GETPID))
	if page.Born == 0 || page.Mark(0).Time < page.Born || page.Mark(1).Time != 0 || page.Mark(2).Time < page.Mark(0).Time {
		t.Errorf("born %d, marks %v", page.Born, []machine.Mark{*page.Mark(0), *page.Mark(1), *page.Mark(2)})
	}
}

func TestAPageNeedsItsMemory(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a page was made of too little memory")
		}
	}()
	machine.MapPage(make([]byte, machine.PageSize(3)-1), 3)
}
