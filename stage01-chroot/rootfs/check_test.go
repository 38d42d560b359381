package rootfs_test

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/binfmt"
	"skiff.example/stage01-chroot/testkit"
)

func TestARootThatWorksIsFit(t *testing.T) {
	testkit.Need(t, "sh")
	dir := write(t, plan(t, "sh"))
	writeFile(t, filepath.Join(dir, "script"), "#!/bin/sh\n", 0o755)
	for _, command := range []string{"sh", "/bin/sh", "/script"} {
		if err := binfmt.Check(dir, command); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
}

// Each of these is tried for real as well: execve(2) in a chroot has the same
// errno, and says less.
func TestARootThatDoesNotWorkIsExplained(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "sh")
	dir := t.TempDir()
	shell, err := os.ReadFile(look(t, "sh"))
	must(t, err)
	foreign := append([]byte(nil), shell...)
	foreign[18], foreign[19] = byte(elf.EM_MIPS), 0 // e_machine, elf(5)
	for name, text := range map[string]string{
		"bin/sh": string(shell), "foreign": string(foreign), "text": "hello\n", "script": "#!/bin/bash\n",
		"windows": "#!/bin/perl\r\n", "nothing": "#!\n", "loop": "#!/loop\n",
	} {
		writeFile(t, filepath.Join(dir, name), text, 0o755)
	}
	writeFile(t, filepath.Join(dir, "data"), string(shell), 0o644)
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o755))
	must(t, os.Symlink(look(t, "sh"), filepath.Join(dir, "out")))
	var report string
	for _, c := range []struct {
		command string
		errno   unix.Errno
	}{
		{"/missing", unix.ENOENT},
		{"/bin/sh", unix.ENOENT},
		{"/script", unix.ENOENT},
		{"/windows", unix.ENOENT},
		{"/out", unix.ENOENT},
		{"/text/x", unix.ENOTDIR},
		{"/text", unix.ENOEXEC},
		{"/foreign", unix.ENOEXEC},
		{"/nothing", unix.ENOEXEC},
		{"/data", unix.EACCES},
		{"/fifo", unix.EACCES},
		{"/loop", unix.ELOOP},
		{"/bin", unix.EACCES},
	} {
		err := binfmt.Check(dir, c.command)
		wantError(t, err, c.errno)
		real := &exec.Cmd{Path: c.command, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Chroot: dir}}
		if err := real.Run(); !errors.Is(err, c.errno) {
			t.Errorf("%s: the kernel says %v, not %v", c.command, err, c.errno)
		}
		report += c.command + "\n  " + err.Error() + "\n"
		if advice := hint.Of(err); advice != "" {
			report += "  hint: " + advice + "\n"
		}
	}
	machine := strings.NewReplacer(interpreterOf(t, look(t, "sh")), "/lib/ld.so", runtime.GOARCH, "MACHINE")
	testkit.Golden(t, machine.Replace(report), "check.golden")
}

// interpreterOf asks debug/elf for what the kernel reads from PT_INTERP.
func interpreterOf(t *testing.T, program string) string {
	t.Helper()
	file, err := elf.Open(program)
	must(t, err)
	defer file.Close()
	text, err := file.Section(".interp").Data()
	must(t, err)
	return strings.TrimRight(string(text), "\x00")
}

func TestACommandWithoutASlashIsLookedUpInTheRoot(t *testing.T) {
	dir := t.TempDir()
	err := binfmt.Check(dir, "sh")
	wantError(t, err, unix.ENOENT, `run "sh" in root "`, "not found in /usr/local/sbin:")
	writeFile(t, filepath.Join(dir, "usr/bin/tool"), "#!/usr/bin/missing\n", 0o755)
	wantError(t, binfmt.Check(dir, "tool"), unix.ENOENT, `the interpreter "/usr/bin/missing" of script "/usr/bin/tool"`)
}

func TestARootMustBeADirectory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "root")
	wantError(t, binfmt.Check(name, "sh"), unix.ENOENT, "open root ")
	writeFile(t, name, "", 0o644)
	wantError(t, binfmt.Check(name, "sh"), unix.ENOTDIR, "open root ")
}

func TestAProgramOnAFileSystemMountedNoexecIsExplained(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", unix.MS_NOEXEC, ""))
	defer unix.Unmount(dir, 0)
	must(t, plan(t, testkit.Probe(t)).Write(dir))
	real := &exec.Cmd{Path: testkit.Probe(t), Dir: "/", SysProcAttr: &syscall.SysProcAttr{Chroot: dir}}
	if err := real.Run(); !errors.Is(err, unix.EACCES) {
		t.Errorf("the kernel says %v", err)
	}
	err := binfmt.Check(dir, testkit.Probe(t))
	wantError(t, err, unix.EACCES, "is on a file system that is mounted noexec: permission denied")
	if hint.Of(err) == "" {
		t.Error("no hint")
	}
}
