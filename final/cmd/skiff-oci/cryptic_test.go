package main_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// The failures that have made many people search, because all that the kernel says is
// an errno or a signal. Each has its cause and a hint; testdata/cryptic.golden is the
// list. A paused container and a limit below what is used are in the tests of exec and
// update; a user that nobody knows is one of exec as well, since a configuration has
// numbers only: here it is one that the user namespace does not map.

// cryptic are in the order of the golden file.
var cryptic = []fault{
	{"the interpreter of a script is missing", func(b *bundle) { b.install("app", "#!/usr/bin/python3\nprint()\n"); b.edit(program("/app")) }},
	{"found along PATH, the interpreter of a script is missing", func(b *bundle) {
		b.install("bin/app", "#!/usr/bin/env python3\nprint()\n")
		b.edit(program("app"))
	}},
	{"a script with lines that end in CR LF", func(b *bundle) { b.install("app", "#!/bin/sh\r\necho\r\n"); b.edit(program("/app")) }},
	{"a script without a first line that says so", func(b *bundle) { b.install("app", "echo hello\n"); b.edit(program("/app")) }},
	{"the loader is missing", func(b *bundle) { b.install("app", b.read(dynamicProgram(b))); b.edit(program("/app")) }},
	{"a shared library is missing", func(b *bundle) {
		name := dynamicProgram(b)
		b.install("app", b.read(name))
		loader := loaderOf(b, name)
		b.install(loader, b.read(loader))
		b.edit(program("/app"))
	}},
	{"a program for another machine", func(b *bundle) { b.install("app", foreignProgram(b)); b.edit(program("/app")) }},
	{"a mount with noexec", func(b *bundle) {
		source := b.TempDir()
		b.must(os.WriteFile(filepath.Join(source, "app"), []byte("#!/bin/sh\n"), 0o755))
		b.edit(program("/data/app"), func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: source, Options: []string{"bind", "noexec"}})
		})
	}},
	{"a program that the user may not execute", func(b *bundle) {
		b.install("app", "#!/bin/sh\n")
		b.must(os.Chmod(b.path("app"), 0o700))
		b.edit(program("/app"), func(s *specs.Spec) { s.Process.User.UID = 1000 })
	}},
	{"the working directory is missing, and cannot be made", func(b *bundle) {
		b.must(os.Symlink("/nowhere", b.path("srv")))
		b.edit(func(s *specs.Spec) { s.Process.Cwd = "/srv/app" })
	}},
	{"a user that is not mapped", func(b *bundle) {
		b.reachable()
		b.edit(ownUsers, func(s *specs.Spec) { s.Process.User.UID = 70000 })
	}},
	{"a system call that seccomp forbids", func(b *bundle) {
		b.edit(program("busybox", "uname"), func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{
				DefaultAction: specs.ActAllow,
				Syscalls:      []specs.LinuxSyscall{{Names: []string{"uname"}, Action: specs.ActKillProcess}},
			}
		})
	}},
	{"the program needs more memory than it may have", func(b *bundle) {
		b.edit(program("busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"), memoryLimit(4<<20))
	}},
	{"there is no memory even for the start", func(b *bundle) { b.edit(program("true"), memoryLimit(64<<10)) }},
}

// memoryLimit gives a container this much memory, in bytes.
func memoryLimit(bytes int64) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &bytes, Swap: &bytes} }
}

// install puts a program into the root.
func (b *bundle) install(name, text string) {
	b.Helper()
	b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.must(os.WriteFile(b.path(name), []byte(text), 0o755))
}

// dynamicProgram is a program of the host that needs a loader and libraries.
func dynamicProgram(b *bundle) string {
	b.Helper()
	name, err := exec.LookPath("env")
	b.must(err)
	return name
}

// loaderOf is the interpreter that a program names: ld.so(8).
func loaderOf(b *bundle, name string) string {
	b.Helper()
	file, err := elf.Open(name)
	b.must(err)
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			text := make([]byte, p.Filesz)
			_, err := p.ReadAt(text, 0)
			b.must(err)
			return strings.TrimRight(string(text), "\x00")
		}
	}
	b.Fatal(name, "has no interpreter")
	return ""
}

// foreignProgram is the header of a program for a machine that this is not.
func foreignProgram(b *bundle) string {
	b.Helper()
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_S390), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	var text bytes.Buffer
	b.must(binary.Write(&text, binary.LittleEndian, header))
	return text.String()
}

func TestTheClassicCrypticFailures(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "env")
	var said strings.Builder
	for _, f := range cryptic {
		b := newBundle(t, program("true"))
		f.damage(b)
		r := b.do("run", "--bundle", b.dir, b.id)
		fmt.Fprintf(&said, "# %s: status %d\n%s%s", f.name, r.status, r.out, strings.ReplaceAll(r.err, loaderOf(b, dynamicProgram(b)), "LOADER"))
		if r.status == 0 {
			t.Errorf("%s: it succeeds", f.name)
		}
		b.wantNothing()
	}
	text := moment.ReplaceAllString(said.String(), "process PID was killed before its program: STEP")
	text = strings.ReplaceAll(steps.ReplaceAllString(text, "(step N of M)"), runtime.GOARCH, "ARCH")
	testkit.Golden(t, text, "cryptic.golden")
}

// moment is how far a process had come when it had no memory left.
var moment = regexp.MustCompile(`process \d+ was killed before its program: .*? \(step \d+ of \d+\)`)

// Of two commands it is start that meets the program; it says the same.
func TestStartSaysTheSameAsRun(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	for _, f := range cryptic {
		b := newBundle(t, program("true"))
		f.damage(b)
		run := b.do("run", "--bundle", b.dir, b.id)
		if !strings.HasPrefix(run.err, "skiff-oci: execute ") {
			continue // create says it, or nobody but run, which waits
		}
		b.succeed("create", "--bundle", b.dir, b.id)
		start := b.do("start", b.id)
		want := strings.Replace(run.err, "skiff-oci: ", fmt.Sprintf("skiff-oci: start container %q: ", b.id), 1)
		if got := steps.ReplaceAllString(start.err, "(step)"); start.status != 1 || got != steps.ReplaceAllString(want, "(step)") {
			t.Errorf("%s: status %d\ngot  %s\nwant %s", f.name, start.status, got, want)
		}
		b.succeed("delete", b.id)
		b.wantNothing()
	}
}
