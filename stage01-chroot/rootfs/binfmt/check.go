// Package binfmt looks at programs as execve(2) does: fs/exec.c,
// fs/binfmt_elf.c and fs/binfmt_script.c of the kernel.
//
// execve(2) says ENOENT for a missing program, for a program whose interpreter
// is missing and for a script whose interpreter is missing; here each gets its
// own words, beforehand.
package binfmt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/lookup"
)

// DefaultPath is the PATH in a new root: a command without a slash is looked up
// along it, and the command itself gets it.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Check reports why a command would not start with dir as its root, nil if it
// would as far as can be seen from here: dir is a directory, the command is in
// it and executable, for this machine, and its interpreter is there. Libraries
// are not looked for. The errors are execve's: ENOENT, EACCES, ENOEXEC, ELOOP,
// ENOTDIR, with a hint.
func Check(dir, command string) error {
	root, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := checkCommand(root, command); err != nil {
		return fmt.Errorf("run %q in root %q: %w", command, dir, err)
	}
	return nil
}

// openRoot opens dir, which should have been made before.
func openRoot(dir string) (*os.File, error) {
	root, err := lookup.Root(dir)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, hint.Add(err, "make a root file system first")
	case errors.Is(err, unix.ENOTDIR):
		return nil, hint.Add(err, "a root is a directory")
	}
	return root, err
}

func checkCommand(root *os.File, command string) error {
	if command == "" {
		return fmt.Errorf("the command is empty: %w", unix.ENOENT)
	}
	if strings.Contains(command, "/") {
		return checkFile(root, command, 0)
	}
	for dir := range strings.SplitSeq(DefaultPath, ":") {
		err := checkFile(root, path.Join(dir, command), 0)
		if !errors.Is(err, errNotThere) {
			return err
		}
	}
	return hint.Add(fmt.Errorf("not found in %s: %w", DefaultPath, unix.ENOENT),
		"a command is looked up in the new root, not on the host")
}

// errNotThere tells a file that is missing from one that misses something.
var errNotThere = errors.New("it is not there")

// checkFile looks at one executable file. depth counts interpreters of
// interpreters: a script's may be a script.
func checkFile(root *os.File, name string, depth int) error {
	const maxDepth = 5 // exec_binprm, fs/exec.c
	if depth > maxDepth {
		return fmt.Errorf("too many interpreters of interpreters: %w", unix.ELOOP)
	}
	file, err := openProgram(root, name)
	if err != nil {
		return err
	}
	defer file.Close()
	start, err := Start(file)
	switch {
	case err != nil:
		return err
	case bytes.HasPrefix(start, []byte("#!")):
		return checkScript(root, name, start, depth)
	case IsELF(start):
		return checkELF(root, name, file)
	}
	return hint.Add(fmt.Errorf("%q is neither an ELF program nor a script: %w", name, unix.ENOEXEC),
		"a script starts with a line like #!/bin/sh")
}

// openProgram opens a regular file that may be executed. O_NONBLOCK: a FIFO
// with the name of a program must not make us wait.
func openProgram(root *os.File, name string) (*os.File, error) {
	file, err := lookup.Open(root, name, unix.O_RDONLY|unix.O_NONBLOCK)
	for _, errno := range []error{unix.ENOENT, unix.ENOTDIR} {
		if errors.Is(err, errno) {
			return nil, hint.Add(fmt.Errorf("%w: %w", errNotThere, errno),
				"a command is looked up in the new root, not on the host")
		}
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%q is no regular file but %v: %w", name, info.Mode(), unix.EACCES)
	}
	if err == nil && info.Mode()&0o111 == 0 {
		err = hint.Add(fmt.Errorf("%q is not executable: %w", name, unix.EACCES), "chmod +x makes it so")
	}
	if err == nil {
		err = checkMount(file)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkMount looks at the mount that a program is on: mount(2), MS_NOEXEC.
func checkMount(file *os.File) error {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &stat); err != nil {
		return fmt.Errorf("statfs %q: %w", file.Name(), err)
	}
	if stat.Flags&unix.ST_NOEXEC != 0 {
		return hint.Add(fmt.Errorf("%q is on a file system that is mounted noexec: %w", file.Name(), unix.EACCES),
			"choose a directory on another one, as /tmp and /run often are mounted so")
	}
	return nil
}

// checkScript looks for a script's interpreter. A line that was written on
// Windows ends in a carriage return, which makes it part of the name.
func checkScript(root *os.File, name string, start []byte, depth int) error {
	interpreter, _ := Shebang(start)
	if interpreter == "" {
		return fmt.Errorf("script %q names no interpreter: %w", name, unix.ENOEXEC)
	}
	err := checkFile(root, interpreter, depth+1)
	if !errors.Is(err, errNotThere) {
		return err
	}
	advice := "copy it in, with the libraries that it needs"
	if strings.HasSuffix(interpreter, "\r") {
		advice = "the script's lines end in CR LF; write them with LF"
	}
	return hint.Add(fmt.Errorf("the interpreter %q of script %q is missing: %w", interpreter, name, unix.ENOENT), advice)
}

// machines are the usual ones: linux/elf-em.h.
var machines = [...]struct {
	number uint16
	name   string
}{
	{3, "EM_386"},
	{8, "EM_MIPS"},
	{20, "EM_PPC"},
	{21, "EM_PPC64"},
	{22, "EM_S390"},
	{40, "EM_ARM"},
	{62, "EM_X86_64"},
	{183, "EM_AARCH64"},
	{243, "EM_RISCV"},
	{258, "EM_LOONGARCH"},
}

// machineName is the name of a machine.
func machineName(number uint16) string {
	for _, m := range machines {
		if m.number == number {
			return m.name
		}
	}
	return fmt.Sprintf("machine %d", number)
}

// checkELF looks at the machine that a program is for, and for its interpreter.
func checkELF(root *os.File, name string, file *os.File) error {
	machine, interpreter, err := ELF(file)
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	runs := map[string][]string{"amd64": {"EM_X86_64", "EM_386"}, "arm64": {"EM_AARCH64", "EM_ARM"}}[runtime.GOARCH]
	if kind := machineName(machine); !slices.Contains(runs, kind) {
		return hint.Add(fmt.Errorf("%q is for %s: %w", name, kind, unix.ENOEXEC), "this machine is "+runtime.GOARCH)
	}
	if interpreter == "" {
		return nil
	}
	loader, err := openProgram(root, interpreter)
	if errors.Is(err, errNotThere) {
		return hint.Add(fmt.Errorf("the interpreter %q of program %q is missing: %w", interpreter, name, unix.ENOENT),
			"copy it in with the libraries that the program needs, or use a static program")
	}
	if err != nil {
		return fmt.Errorf("the interpreter of program %q: %w", name, err)
	}
	return loader.Close()
}
