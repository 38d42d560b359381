package main_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// Every mistake has an error of one line that names the thing, and where there
// is a usual cause a hint. Nearly all of them are seen before anything is done,
// so they need no root.

func TestEveryMistakeIsNamed(t *testing.T) {
	root := mistakes(t)
	var all strings.Builder
	for _, args := range [][]string{
		{"run", root + "/missing", "/bin/sh"},
		{"run", root + "/notes", "/bin/sh"},
		{"run", root, "ls"},
		{"run", root, "/bin/ls"},
		{"run", root, "/notes/ls"},
		{"run", root, "/bin"},
		{"run", root, "/notes"},
		{"run", root, "/script"},
		{"run", root, "/text"},
		{"run", root, "/empty"},
		{"run", root, "/dynamic"},
		{"run", root, "/dangling"},
		{"run", root, "/circle"},
		{"run", root, ""},
		{"run", "--sys", root, "/static"},
		{"run", "--proc", "/", "sh"},
		{"plan", root, "ls"},
		{"plan", root + "/missing", "ls"},
		{"root", filepath.Join(root, "new"), "no-such-program"},
		{"root", filepath.Join(root, "new")},
		{"root", "--tar", root + "/missing", filepath.Join(root, "new")},
		{"root", "--tar", root + "/text", filepath.Join(root, "new")},
		{"root", "--copy", root + "/missing", filepath.Join(root, "new")},
		{"escape", "--by", "magic", "/bin/sh"},
		{"clean", "/"},
		{"clean", root + "/missing"},
		{"run", root},
		{"root"},
		{"demo", "all"},
		{"run", "--bogus", root, "/bin/sh"},
		{"bogus"},
	} {
		all.WriteString(mistake(t, stage01(t, args...)))
	}
	testkit.Golden(t, all.String(), "errors.golden")
}

// What a program is built for is a number in its header, elf(5): e_machine.
func TestAProgramOfAnotherMachineIsNamed(t *testing.T) {
	root := mistakes(t)
	foreign, ours, theirs := elf.EM_AARCH64, "amd64", "EM_AARCH64"
	if runtime.GOARCH == "arm64" {
		foreign, ours, theirs = elf.EM_X86_64, "arm64", "EM_X86_64"
	}
	writeFile(t, root+"/foreign", program(foreign, ""), 0o755)
	got := mistake(t, stage01(t, "run", root, "/foreign"))
	want := fmt.Sprintf("stage01: run \"/foreign\" in root %q: \"/foreign\" is for %s: exec format error\nhint: this machine is %s\n", root, theirs, ours)
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Too long for the program is only what is not too long for us: see tooLong.
func TestACommandLineThatIsTooLongIsNamed(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Golden(t, tooLong(t, busyboxRoot(t)), "toolong.golden")
}

// mistakes is a root file system in which nothing can be run, but /static.
func mistakes(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	output(t, exec.Command("mkdir", root+"/bin"))
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	writeFile(t, root+"/script", []byte("#!/bin/interpreter\n"), 0o755)
	writeFile(t, root+"/notes", []byte("#!/bin/sh\n"), 0o644)
	writeFile(t, root+"/text", []byte("hello\n"), 0o755)
	writeFile(t, root+"/empty", nil, 0o755)
	writeFile(t, root+"/static", program(machine, ""), 0o755)
	writeFile(t, root+"/dynamic", program(machine, "/lib/ld.so"), 0o755)
	for name, target := range map[string]string{"dangling": "/nowhere", "circle": "circle"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func writeFile(t *testing.T, name string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, data, mode); err != nil {
		t.Fatal(err)
	}
}

// program is an ELF file with as much as execve(2) looks at: its machine and
// the path of its interpreter. There is no code in it.
func program(machine elf.Machine, interpreter string) []byte {
	const header, segment = 64, 56 // bytes, elf(5)
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: header, Ehsize: header, Phentsize: segment, Phnum: 1,
	}
	copy(h.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)})
	s := elf.Prog64{Type: uint32(elf.PT_NOTE)}
	if interpreter != "" {
		size := uint64(len(interpreter) + 1)
		s = elf.Prog64{Type: uint32(elf.PT_INTERP), Off: header + segment, Filesz: size, Memsz: size}
	}
	var b bytes.Buffer
	for _, part := range []any{h, s, append([]byte(interpreter), 0)} {
		_ = binary.Write(&b, binary.LittleEndian, part) // a buffer takes all
	}
	return b.Bytes()
}

// mistake runs cmd, which must fail with status 1, and returns the command
// line and what it said.
func mistake(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	return testkit.Mistake(t, "stage01", cmd)
}
