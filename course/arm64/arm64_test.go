// Package arm64 has the code that differs from machine to machine run on the other kind:
// QEMU executes the program's instructions one by one, and passes its system calls to this
// machine's kernel (qemu-user).
package arm64

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"skiff.example/stage01-chroot/testkit"
)

// emulator runs a program.
const emulator = "qemu-aarch64"

// build is a Go command for the other kind.
func build(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	return cmd
}

// These packages have a system call, a clone and a signal handler in assembly.
func TestAssembly(t *testing.T) {
	testkit.Need(t, emulator)
	out, err := build("test", "-count=1", "-exec", emulator, "./stage01-chroot/plan/machine", "./final/selfpipe").CombinedOutput()
	assert.NilError(t, err, string(out))
	out, err = build("test", "-count=1", "-exec", emulator, "-run", "Stack|Processors", "./final/shortlived").CombinedOutput()
	assert.NilError(t, err, string(out))
	assert.Check(t, !strings.Contains(string(out), "no tests"), string(out))
}

// skiff-oci begins with instructions of its own, whose first call is seen, and goes on in Go.
func TestProgramBegins(t *testing.T) {
	testkit.Need(t, emulator)
	flags, err := os.ReadFile("../../final/cmd/skiff-oci/ldflags")
	assert.NilError(t, err)
	program := filepath.Join(t.TempDir(), "skiff-oci")
	out, err := build("build", "-ldflags", strings.TrimSpace(string(flags)), "-o", program, "./final/cmd/skiff-oci").CombinedOutput()
	assert.NilError(t, err, string(out))
	seen, err := exec.Command(emulator, "-strace", program, "--version").CombinedOutput()
	assert.NilError(t, err, string(seen))
	first, _, _ := strings.Cut(string(seen), "\n")
	assert.Check(t, strings.Contains(first, "prlimit64("), first)
	assert.Check(t, strings.Contains(string(seen), "skiff-oci version "), string(seen))
}
