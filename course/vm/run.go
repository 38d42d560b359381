package vm

// This file boots a machine with QEMU, qemu(1), hands on what the guest
// reports, and says what happened when the report breaks off.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"skiff.example/course/vm/wire"
	"skiff.example/stage01-chroot/hint"
)

// qemu is the emulator; Debian's package is qemu-system-x86.
const qemu = "qemu-system-x86_64"

// ErrNoMachine is the error for a host that has no QEMU.
var ErrNoMachine = hint.Add(fmt.Errorf("%s: %w", qemu, exec.ErrNotFound), "make deps installs it, from Debian's package qemu-system-x86")

// Run boots the machine, calls each with every event of its jobs, and returns
// when the machine is off. That a job fails is an event; an error means that
// not all of them were run: the kernel panicked, a program could not be
// started, ctx ended. An error of each ends the machine and is returned.
func (m *Machine) Run(ctx context.Context, each func(wire.Event) error) error {
	if _, err := exec.LookPath(qemu); err != nil {
		return ErrNoMachine
	}
	initramfs, err := m.initramfs()
	if err != nil {
		return err
	}
	defer initramfs.Close()
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends that forked: prctl(2)
	defer runtime.UnlockOSThread()
	run, end := context.WithCancel(ctx)
	defer end()
	last := &tail{}
	cmd := exec.CommandContext(run, "nice", m.command()...)
	cmd.Stderr = io.MultiWriter(m.Console, last)
	if m.Terminal != nil {
		cmd.Stdin, cmd.Stdout = m.Terminal, m.Terminal
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	events, err := start(cmd, initramfs)
	if err != nil {
		return err
	}
	defer events.Close()
	state, err := follow(events, each)
	end()
	switch wait := cmd.Wait(); {
	case err != nil:
		return err
	case state.complete:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("the virtual machine was ended %s: %w", state, context.Cause(ctx))
	default:
		return state.brokenOff(last.String(), wait)
	}
}

// start starts QEMU with its descriptors 3, the file system, and 4, the second
// serial port, and returns where the events can be read.
func start(cmd *exec.Cmd, initramfs *os.File) (*os.File, error) {
	events, port, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer port.Close()
	cmd.ExtraFiles = []*os.File{initramfs, port}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, events.Close())
	}
	return events, nil
}

// initramfs writes the machine's file system into a file that exists in memory
// only: memfd_create(2).
func (m *Machine) initramfs() (*os.File, error) {
	files, err := m.files()
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("initramfs", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "initramfs")
	w := bufio.NewWriterSize(file, 1<<20)
	if err := errors.Join(writeCPIO(w, files), w.Flush()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// command returns QEMU's command line, without the word nice. The first serial
// port is the kernel's console and goes to the terminal or, without one, to the
// standard error; the second is the guest's and goes to descriptor 4.
//
// signal=on: until somebody makes the terminal wholly raw, Ctrl-C ends QEMU.
// psi=1: Debian's kernel measures pressure only when it is told to.
// panic=-1, -no-reboot: a panic ends the machine at once.
func (m *Machine) command() []string {
	console := "file,path=/dev/stderr"
	if m.Terminal != nil {
		console = "stdio,signal=on"
	}
	return []string{
		"-n", "5", qemu,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", fmt.Sprint(m.Memory),
		"-chardev", console + ",id=console", "-serial", "chardev:console", "-serial", "file:/proc/self/fd/4",
		"-kernel", m.Kernel.image(), "-initrd", "/proc/self/fd/3",
		"-append", "console=ttyS0 quiet panic=-1 psi=1",
	}
}

// progress is how far a machine has come.
type progress struct {
	job      string // the job that runs, "" if none does
	said     bool   // the guest has reported something
	complete bool   // all jobs have ended
}

func (p progress) String() string {
	switch {
	case p.job != "":
		return "while " + p.job + " ran"
	case p.said:
		return "between two jobs"
	}
	return "before its first job began"
}

// follow reads events until the machine is off.
func follow(r io.Reader, each func(wire.Event) error) (progress, error) {
	var p progress
	decoder := json.NewDecoder(r)
	for {
		var e wire.Event
		if err := decoder.Decode(&e); err != nil {
			return p, nil // the machine is off, or was cut short within an event
		}
		p.said = true
		switch {
		case e.Job == "" && e.Error != "":
			return p, fmt.Errorf("virtual machine: %s", e.Error)
		case e.Job == "":
			p.complete = true
			return p, nil
		case e.Ended:
			p.job = ""
		default:
			p.job = e.Job
		}
		if err := each(e); err != nil {
			return p, err
		}
	}
}

// panicked is how the kernel says it, with the time since it was started.
var panicked = regexp.MustCompile(`Kernel panic - not syncing: [^\r\n]*`)

// brokenOff says what became of a machine that ended before its jobs had.
func (p progress) brokenOff(console string, wait error) error {
	console = strings.TrimSpace(strings.ReplaceAll(console, "\r", ""))
	what := "ended"
	if message := panicked.FindString(console); message != "" {
		what = "died of " + message
	} else if wait != nil {
		what = "ended, " + wait.Error()
	}
	return fmt.Errorf("the virtual machine %s, %s; its last words:\n%s", what, p, console)
}
