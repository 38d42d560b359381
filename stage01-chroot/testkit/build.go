package testkit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Programs that tests run: built once for each test process, static, so that
// they also run in a root file system that is empty but for them.

// probePackage is our program that looks at a container from inside.
const probePackage = "skiff.example/stage01-chroot/testkit/probe"

// Probe returns the path of the program that looks at a container from inside
// and says what it sees, line by line; `probe -h` lists what it can look at.
func Probe(t testing.TB) string {
	t.Helper()
	return Build(t, probePackage)
}

// Build builds a main package, given by its import path or relative to the
// test's folder (./cmd/x), as a static program and returns its path. It is
// built once for each test process and removed when that has ended.
//
// Where the environment names a tree of programs that were built beforehand,
// it is taken from there (see prebuilt.go).
func Build(t testing.TB, pkg string) string {
	t.Helper()
	own, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	once, _ := own.built.LoadOrStore(pkg, sync.OnceValues(func() (string, error) { return own.build(pkg) }))
	program, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// programFolder holds the programs of this process.
type programFolder struct {
	dir   string
	end   *os.File // closed by the kernel when this process ends; see removeAtExit
	built sync.Map // package → the function that builds it the first time it is called
}

// programs makes the folder. t.TempDir would not do: it belongs to one test
// and goes with it.
var programs = sync.OnceValues(func() (*programFolder, error) {
	dir, err := os.MkdirTemp("", "skiff-programs-")
	if err != nil {
		return nil, err
	}
	end, err := removeAtExit(dir)
	if err != nil {
		return nil, err
	}
	return &programFolder{dir: dir, end: end}, os.Chmod(dir, 0o755) // other users run programs too
})

// build gives each program a folder of its own, in which `go build` names the
// program as it always does: the name is what ps and /proc show.
func (p *programFolder) build(pkg string) (string, error) {
	dir, err := os.MkdirTemp(p.dir, "")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	if tree := os.Getenv(prebuiltTree); tree != "" {
		err = copyPrebuilt(tree, pkg, dir)
	} else {
		err = goBuild(pkg, dir)
	}
	if err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("build %s: it is %d programs, not one", pkg, len(files))
	}
	return filepath.Join(dir, files[0].Name()), nil
}

// goBuild has the Go tool build a package's program into dir, as make does it.
func goBuild(pkg, dir string) error {
	flags, err := linkerFlags(pkg)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", dir+"/", pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// linkerFlags is what the file ldflags in a package's folder says, if there is one.
func linkerFlags(pkg string) (string, error) {
	list := exec.Command("go", "list", "-f", "{{.Dir}}", pkg)
	list.Stderr = os.Stderr // where the Go tool may also say what it downloads
	folder, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	flags, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), "ldflags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return strings.TrimSpace(string(flags)), nil
}

// removeAtExit has a shell remove dir when this process has ended, however it
// ends: a test that takes too long, or is killed, runs no clean-up of its own.
// The shell learns it from a pipe of which only we hold the other end, the
// result: reading from it returns when the kernel closes that for us.
//
// The shell that waits is a grandchild and goes to pid 1 at once. So it is no
// descendant that a test would have to know of, provided that this process
// does not adopt orphans yet.
func removeAtExit(dir string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	const script = `{ read -r _ <&3; rm -rf -- "$1"; } &`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", dir)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{r}                       // descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("remove %q at exit: %w", dir, err)
	}
	return w, nil
}
