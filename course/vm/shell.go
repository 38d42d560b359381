package vm

// This file is for a reader whose own machine has another version of control
// groups: a shell in the machine, on its serial console, which is the reader's
// terminal. That is raw meanwhile, so that every key goes to the shell, Ctrl-C
// too, and the kernel in there makes the signal of it: termios(3).

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/course/vm/wire"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/binfmt"
)

// Shell runs a shell in a virtual machine until it ends: root's, in a /tmp with
// a disk, with the programs of the stages in its PATH and those of the host
// that tests have too. root is that of the tree, and cache where the kernel is
// kept. The terminal, which must be one and open for reading and writing, is
// afterwards as it was.
//
// How the shell ended is not looked at. Its terminal keeps the size that it
// has at the beginning.
func Shell(ctx context.Context, root, cache string, terminal *os.File) (err error) {
	restore, err := save(terminal)
	if err != nil {
		return err
	}
	kernel, err := FindKernel(ctx, cache, Modules)
	if err != nil {
		return err
	}
	out, err := os.MkdirTemp("", "skiff-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	m := &Machine{Kernel: kernel, Memory: memory, Console: io.Discard, Terminal: terminal}
	m.Jobs = []wire.Job{disk, shellOn(terminal)}
	if err := m.fillForShell(ctx, root, out); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	var said bytes.Buffer
	return m.Run(ctx, func(e wire.Event) error {
		said.Write(e.Output)
		switch {
		case e.Job == disk.Name && e.Ended:
			return noDisk(e, said.String())
		case e.Job == shellName && !e.Ended:
			return makeRaw(terminal)
		case e.Error != "":
			return fmt.Errorf("virtual machine: %s: %s", e.Job, e.Error)
		}
		return nil
	})
}

// fillForShell builds what is in the machine. A program of the host that is not
// there is not missed.
func (m *Machine) fillForShell(ctx context.Context, root, out string) error {
	there := slices.DeleteFunc(slices.Clone(programs), func(name string) bool {
		_, err := binfmt.Find("/", name)
		return err != nil
	})
	b, err := newBuilder(root, out, there)
	if err != nil {
		return err
	}
	if m.Guest, err = b.guest(ctx); err != nil {
		return err
	}
	b.addDescription(os.Getenv("TERM"))
	err = b.addStages(ctx)
	m.Files = b.files
	return err
}

// addDescription plans the description of the user's kind of terminal, if this
// host has one, so that a long line can be edited: terminfo(5).
func (b *builder) addDescription(kind string) {
	if kind == "" || strings.Contains(kind, "/") {
		return
	}
	for _, dir := range []string{"etc/terminfo", "lib/terminfo", "usr/share/terminfo"} {
		source := path.Join("/", dir, kind[:1], kind)
		if info, err := os.Stat(source); err == nil && info.Mode().IsRegular() {
			b.add(regular(path.Join("usr/share/terminfo", kind[:1], kind), source, 0o644))
			return
		}
	}
}

// shellName is what the machine's reports call the shell.
const shellName = "the shell"

// shellOn returns the job that is the shell.
func shellOn(terminal *os.File) wire.Job {
	size := wire.Size{Rows: 24, Columns: 80} // of terminals that do not say, themselves on a serial line
	if w, err := unix.IoctlGetWinsize(int(terminal.Fd()), unix.TIOCGWINSZ); err == nil && w.Row > 0 && w.Col > 0 {
		size = wire.Size{Rows: w.Row, Columns: w.Col}
	}
	return wire.Job{
		Name: shellName, Dir: "/tmp", Terminal: &size,
		Args: []string{"/bin/bash", "--norc"},
		Env:  []string{"PATH=" + binfmt.DefaultPath, "HOME=/root", "TERM=" + os.Getenv("TERM"), `PS1=vm:\w# `},
	}
}

// save returns what puts the terminal back as it is now: its settings, and the
// flags of the open file, of which QEMU sets O_NONBLOCK.
func save(terminal *os.File) (restore func() error, err error) {
	fd := int(terminal.Fd())
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		err = fmt.Errorf("get the settings of the terminal %q: %w", terminal.Name(), err)
		return nil, hint.Add(err, "a shell is for somebody who types")
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return func() error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
		return errors.Join(os.NewSyscallError("fcntl", err), unix.IoctlSetTermios(fd, unix.TCSETS, settings))
	}, nil
}

// makeRaw hands on every byte as it is, in both directions: cfmakeraw of
// termios(3).
func makeRaw(terminal *os.File) error {
	fd := int(terminal.Fd())
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	settings.Oflag &^= unix.OPOST
	settings.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	settings.Cc[unix.VMIN], settings.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, settings)
}
