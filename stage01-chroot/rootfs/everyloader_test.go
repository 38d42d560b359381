package rootfs_test

import (
	"debug/elf"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// Programs of this host, each against its own loader: `ld.so --list` is what
// ldd(1) calls. All of them take half a minute, so one in ten is tried.

func TestTheLibrariesOfProgramsAreThoseOfTheirLoader(t *testing.T) {
	testkit.Need(t, "sh")
	const oneIn = 10
	compared := 0
	for _, folder := range []string{"/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/lib/git-core"} {
		programs, err := filepath.Glob(folder + "/*")
		must(t, err)
		for i, program := range programs {
			if i%oneIn == 0 && compareWithLoader(t, program) {
				compared++
			}
		}
	}
	if compared < 10 {
		t.Errorf("only %d programs of this host could be compared", compared)
	}
}

// compareWithLoader reports whether there was something to compare. What the
// loader cannot load is no program of this machine.
func compareWithLoader(t *testing.T, program string) bool {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		return false // a script, or a folder
	}
	defer file.Close()
	if !slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return false // static
	}
	real, err := filepath.EvalSymlinks(program)
	must(t, err)
	out, err := exec.Command(interpreterOf(t, program), "--list", real).Output()
	if err != nil {
		return false
	}
	closure, err := rootfs.FromPrograms(program)
	if err != nil {
		t.Errorf("%s: its loader finds everything, and we say %v", program, err)
		return true
	}
	want := pathsIn(t, string(out))
	for _, f := range closure.Files() {
		name := filepath.Base(f.Source)
		if strings.Contains(name, ".so") && f.Source != real && !want[f.Source] && !isCache(f) {
			t.Errorf("%s: %s is in the closure, and its loader has not found it", program, f.Source)
		}
		delete(want, f.Source)
	}
	for missing := range want {
		t.Errorf("%s: its loader has found %s, which is not in the closure", program, missing)
	}
	return true
}

func isCache(f rootfs.File) bool { return f.Source == "/etc/ld.so.cache" }

// pathsIn are the paths in lines like "libc.so.6 => /lib/libc.so.6 (0x7f…)".
func pathsIn(t *testing.T, lines string) map[string]bool {
	t.Helper()
	paths := map[string]bool{}
	for word := range strings.FieldsSeq(lines) {
		if !strings.HasPrefix(word, "/") {
			continue
		}
		real, err := filepath.EvalSymlinks(word)
		must(t, err)
		paths[real] = true
	}
	return paths
}
