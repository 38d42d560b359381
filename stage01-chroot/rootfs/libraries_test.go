package rootfs_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// Programs with libraries in unusual places, made with the host's compiler and
// linker. The host's own ld.so is the judge: what it can start must run in the
// closure, and what it cannot must be an error.

// sources are two libraries, of which the first needs the second, and a
// program that needs the first.
var sources = map[string]string{
	"inner.c":   `const char *inner(void) { return "hello from inner"; }`,
	"outer.c":   `const char *inner(void); const char *outer(void) { return inner(); }`,
	"program.c": `#include <stdio.h>` + "\nconst char *outer(void); int main(void) { puts(outer()); return 0; }",
}

// workshop is a folder with the sources; the libraries go into lib, the
// program into bin.
func workshop(t *testing.T) string {
	t.Helper()
	testkit.Need(t, "gcc")
	dir := t.TempDir()
	for name, text := range sources {
		writeFile(t, filepath.Join(dir, name), text+"\n", 0o644)
	}
	must(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "lib"), 0o755))
	return dir
}

// compile runs a compiler in dir, with words as its arguments.
func compile(t *testing.T, dir, compiler, arguments string) {
	t.Helper()
	cmd := exec.Command(compiler, strings.Fields(arguments)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", compiler, arguments, err, out)
	}
}

func TestLibrariesAreSearchedAsTheLoaderDoes(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, c := range []struct {
		what           string
		outer, program string // what these two are linked with
		runs           bool
	}{
		{"a RUNPATH in each object", "-Wl,-rpath,$ORIGIN", "-Wl,-rpath,$ORIGIN/../lib", true},
		{"${ORIGIN} in braces", "-Wl,-rpath,${ORIGIN}/.", "-Wl,-rpath,${ORIGIN}/../lib", true},
		{"an absolute RUNPATH", "-Wl,-rpath,DIR/lib", "-Wl,-rpath,/nowhere:DIR/lib", true},
		{"a RUNPATH is not inherited", "", "-Wl,-rpath,$ORIGIN/../lib", false},
		{"a RPATH is inherited", "", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib", true},
		{
			"a RPATH is not inherited by an object with a RUNPATH",
			"-Wl,-rpath,/nowhere", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib", false,
		},
		{"no path at all", "", "", false},
		{"$LIB", "-Wl,-rpath,$ORIGIN", "-Wl,-rpath,$ORIGIN/../multi/$LIB", true},
		{"no built-in directories", "-Wl,-rpath,$ORIGIN", "-Wl,-rpath,$ORIGIN/../lib,-z,nodefaultlib", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := workshop(t)
			link := func(flags string) string { return strings.ReplaceAll(flags, "DIR", dir) }
			compile(t, dir, "gcc", "-Wl,--enable-new-dtags -shared -fPIC -Wl,-soname,libinner.so.1 -o lib/libinner.so.1 inner.c")
			compile(t, dir, "gcc", "-Wl,--enable-new-dtags -shared -fPIC -Wl,-soname,libouter.so.1 -o lib/libouter.so.1 outer.c lib/libinner.so.1 "+link(c.outer))
			compile(t, dir, "gcc", "-Wl,--enable-new-dtags -Wl,--allow-shlib-undefined -o bin/program program.c lib/libouter.so.1 "+link(c.program))
			must(t, os.MkdirAll(filepath.Join(dir, "multi/lib"), 0o755))
			triplet := strings.TrimSpace(output(t, "gcc", "", "-print-multiarch"))
			must(t, os.Symlink("../../lib", filepath.Join(dir, "multi/lib", triplet)))
			wantSameAsHost(t, filepath.Join(dir, "bin/program"), c.runs)
		})
	}
}

// hello is a workshop with the program in it, which finds its libraries.
func hello(t *testing.T) (dir, program string) {
	t.Helper()
	dir = workshop(t)
	compile(t, dir, "gcc", "-shared -fPIC -Wl,-soname,libinner.so.1 -o lib/libinner.so.1 inner.c")
	compile(t, dir, "gcc", "-shared -fPIC -Wl,-soname,libouter.so.1 -o lib/libouter.so.1 outer.c lib/libinner.so.1 -Wl,-rpath,$ORIGIN")
	compile(t, dir, "gcc", "-o bin/program program.c lib/libouter.so.1 -Wl,-rpath,$ORIGIN/../lib")
	return dir, filepath.Join(dir, "bin/program")
}

func TestAStaticProgramHasNoInterpreter(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, flags := range []string{"-static", "-static-pie"} {
		dir := workshop(t)
		compile(t, dir, "gcc", flags+" -o bin/program program.c outer.c inner.c")
		program := filepath.Join(dir, "bin/program")
		wantSameAsHost(t, program, true)
		for _, name := range names(plan(t, program)) {
			if strings.Contains(name, ".so") {
				t.Errorf("%s: %s is in the closure", flags, name)
			}
		}
	}
}

// A loader goes by segments. Sections may be stripped, and the program runs.
func TestAProgramWithoutSectionsHasItsLibrariesAllTheSame(t *testing.T) {
	testkit.HostUnchanged(t)
	_, program := hello(t)
	data, err := os.ReadFile(program)
	must(t, err)
	for at := 0x28; at < 0x30; at++ { // e_shoff of a 64-bit file, elf(5)
		data[at] = 0
	}
	clear(data[0x3c:0x40]) // e_shnum, e_shstrndx
	writeFile(t, program, string(data), 0o755)
	wantSameAsHost(t, program, true)
}

func TestADamagedProgramIsAnError(t *testing.T) {
	_, program := hello(t)
	file, err := elf.Open(program)
	must(t, err)
	data, err := os.ReadFile(program)
	must(t, err)
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_DYNAMIC {
			data[segment.Off+8] = 0xff // the value of the first tag, DT_NEEDED
			data[segment.Off+12] = 0xff
		}
	}
	must(t, file.Close())
	writeFile(t, program, string(data), 0o755)
	_, err = rootfs.FromPrograms(program)
	if err == nil || !strings.Contains(err.Error(), `read libraries of "`+program+`": the dynamic section is damaged: DT_NEEDED is at `) {
		t.Errorf("got %v", err)
	}
}

// A directory may have a library once more for newer processors. ld.so of the
// new root takes what fits the processor that it finds.
func TestLibrariesForNewerProcessorsComeAlong(t *testing.T) {
	testkit.HostUnchanged(t)
	if runtime.GOARCH != "amd64" {
		t.Log("glibc has no levels of this machine")
		return
	}
	dir, program := hello(t)
	levels := filepath.Join(dir, "lib/glibc-hwcaps")
	for _, level := range []string{"x86-64-v2", "x86-64-v4"} {
		writeFile(t, filepath.Join(dir, level+".c"), `const char *outer(void) { return "hello from `+level+`"; }`, 0o644)
		must(t, os.MkdirAll(filepath.Join(levels, level), 0o755))
		compile(t, dir, "gcc", "-shared -fPIC -Wl,-soname,libouter.so.1 -o "+filepath.Join(levels, level, "libouter.so.1")+" "+level+".c")
	}
	wantSameAsHost(t, program, true)
	got := names(plan(t, program))
	for _, file := range []string{"lib/libouter.so.1", "lib/libinner.so.1", "lib/glibc-hwcaps/x86-64-v2/libouter.so.1", "lib/glibc-hwcaps/x86-64-v4/libouter.so.1"} {
		if !slices.Contains(got, strings.TrimPrefix(filepath.Join(dir, file), "/")) {
			t.Errorf("%s is not in the closure", file)
		}
	}
}

func TestALibraryMayBeNeededByItsPath(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := workshop(t)
	compile(t, dir, "gcc", "-shared -fPIC -o lib/libinner.so inner.c") // no DT_SONAME: its path is the name
	compile(t, dir, "gcc", "-shared -fPIC -o lib/libouter.so outer.c "+dir+"/lib/libinner.so")
	compile(t, dir, "gcc", "-o bin/program program.c "+dir+"/lib/libouter.so")
	wantSameAsHost(t, filepath.Join(dir, "bin/program"), true)
}

// wantSameAsHost runs a program here and in its closure. runs is what the
// manual says; if the host's loader disagrees the test itself is wrong.
func wantSameAsHost(t *testing.T, program string, runs bool) {
	t.Helper()
	out, err := exec.Command(program).CombinedOutput()
	if (err == nil) != runs {
		t.Fatalf("on the host it ended with %v: %s", err, out)
	}
	closure, err := rootfs.FromPrograms(program)
	if !runs {
		wantError(t, err, unix.ENOENT, `add program "`+program+`": library "lib`, "is in none of ")
		return
	}
	must(t, err)
	dir := write(t, closure)
	proc := filepath.Join(dir, "proc") // glibc asks /proc/self/exe for $ORIGIN
	must(t, unix.Mount("proc", proc, "proc", 0, ""))
	defer unix.Unmount(proc, 0)
	if got := runIn(t, dir, program); got != string(out) {
		t.Errorf("it said %q, on the host %q", got, out)
	}
}

func TestALibraryOfAnotherMachineIsPassedOver(t *testing.T) {
	testkit.HostUnchanged(t)
	dir, program := hello(t)
	compile(t, dir, "gcc", "-o bin/program program.c lib/libouter.so.1 -Wl,-rpath,$ORIGIN/../foreign:$ORIGIN/../lib")
	library, err := os.ReadFile(filepath.Join(dir, "lib/libouter.so.1"))
	must(t, err)
	const machine = 18 // offset of e_machine, elf(5)
	library[machine], library[machine+1] = byte(elf.EM_MIPS), 0
	writeFile(t, filepath.Join(dir, "foreign/libouter.so.1"), string(library), 0o755)
	wantSameAsHost(t, program, true)
}

func TestAMuslProgramHasItsOwnLoaderAndRules(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "musl-gcc")
	dir := workshop(t)
	compile(t, dir, "musl-gcc", "-shared -fPIC -Wl,-soname,libinner.so.1 -o lib/libinner.so.1 inner.c")
	compile(t, dir, "musl-gcc", "-shared -fPIC -Wl,-soname,libouter.so.1 -o lib/libouter.so.1 outer.c lib/libinner.so.1")
	compile(t, dir, "musl-gcc", "-o bin/program program.c lib/libouter.so.1 -Wl,-rpath,$ORIGIN/../$LIB:$ORIGIN/../lib")
	program := filepath.Join(dir, "bin/program")
	wantSameAsHost(t, program, false)                                                                   // musl knows no $LIB
	compile(t, dir, "musl-gcc", "-o bin/program program.c lib/libouter.so.1 -Wl,-rpath,$ORIGIN/../lib") // inherited, in musl
	wantSameAsHost(t, program, true)
	for _, name := range names(plan(t, program)) {
		if filepath.Base(name) == "libc.so.6" {
			t.Errorf("%s, the C library of glibc, is in the closure", name)
		}
	}
}

// An old glibc, played by a library of that name without the functions of
// _nss_files_…, loads modules to look up names.
func TestModulesThatLookUpNamesComeAlong(t *testing.T) {
	dir := workshop(t)
	writeFile(t, filepath.Join(dir, "libc.c"), "void *getpwnam(const char *n) { return (void *)n; }\n", 0o644)
	writeFile(t, filepath.Join(dir, "nss.c"), "int _nss_files_getpwnam_r;\n", 0o644)
	writeFile(t, filepath.Join(dir, "who.c"), "void *getpwnam(const char *); int main(void) { return !getpwnam(\"\"); }\n", 0o644)
	compile(t, dir, "gcc", "-shared -fPIC -nostdlib -Wl,-soname,libc.so.6 -o lib/libc.so.6 libc.c")
	compile(t, dir, "gcc", "-shared -fPIC -nostdlib -Wl,-soname,libnss_files.so.2 -o lib/libnss_files.so.2 nss.c")
	compile(t, dir, "gcc", "-shared -fPIC -nostdlib -Wl,-soname,libnss_dns.so.2 -o lib/libnss_dns.so.2 nss.c")
	compile(t, dir, "gcc", "-nostdlib -e main -o bin/who who.c lib/libc.so.6 -Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib")
	got := names(plan(t, filepath.Join(dir, "bin/who")))
	for _, module := range []string{"libnss_files.so.2", "libnss_dns.so.2"} {
		if want := strings.TrimPrefix(filepath.Join(dir, "lib", module), "/"); !slices.Contains(got, want) {
			t.Errorf("%s is not in the closure: %q", want, got)
		}
	}
}
