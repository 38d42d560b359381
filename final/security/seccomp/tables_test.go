package seccomp_test

import (
	"os"
	"testing"

	"skiff.example/final/security/seccomp/mktables/tables"
)

// tables.go is what mktables writes, from the golang.org/x/sys that go.mod names.
func TestTheTablesAreThoseOfTheModule(t *testing.T) {
	want, err := tables.Generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("tables.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("tables.go is not what this writes: go run ./security/seccomp/mktables > security/seccomp/tables.go")
	}
}

// What is known from elsewhere: asm/unistd.h of each architecture, and
// syscall_64.tbl for x32.
func TestCallsHaveTheirNumbers(t *testing.T) {
	for _, c := range []struct {
		arch, name string
		number     uint32
	}{
		{"SCMP_ARCH_X86_64", "read", 0},
		{"SCMP_ARCH_X86_64", "execve", 59},
		{"SCMP_ARCH_X86_64", "rseq", 334},
		{"SCMP_ARCH_X86_64", "pidfd_send_signal", 424}, // after a gap
		{"SCMP_ARCH_X86", "execve", 11},
		{"SCMP_ARCH_X86", "socketcall", 102},
		{"SCMP_ARCH_X32", "read", 1 << 30},
		{"SCMP_ARCH_X32", "execve", 1<<30 | 520},
		{"SCMP_ARCH_X32", "pwritev2", 1<<30 | 547},
		{"SCMP_ARCH_ARM", "execve", 11},
		{"SCMP_ARCH_ARM", "set_tls", 0xf0005},
		{"SCMP_ARCH_AARCH64", "execve", 221},
		{"SCMP_ARCH_LOONGARCH64", "execve", 221},
		{"SCMP_ARCH_MIPS", "execve", 4011},
		{"SCMP_ARCH_MIPSEL", "execve", 4011},
		{"SCMP_ARCH_MIPS64", "execve", 5057},
		{"SCMP_ARCH_MIPSEL64", "execve", 5057},
		{"SCMP_ARCH_PPC", "execve", 11},
		{"SCMP_ARCH_PPC64", "execve", 11},
		{"SCMP_ARCH_PPC64LE", "execve", 11},
		{"SCMP_ARCH_RISCV64", "riscv_flush_icache", 259},
		{"SCMP_ARCH_S390X", "execve", 11},
	} {
		for _, a := range arches() {
			if number, ok := a.Calls[c.name]; string(a.Name) == c.arch && (!ok || number != c.number) {
				t.Errorf("%s of %s has number %d, want %d", c.name, c.arch, number, c.number)
			}
		}
	}
	if len(arches()) != 15 {
		t.Errorf("there are tables for %d architectures, want 15", len(arches()))
	}
}
