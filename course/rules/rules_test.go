package rules_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"gotest.tools/v3/assert"

	"skiff.example/course/rules"
)

// root is the root of the real tree.
const root = "../.."

func TestTreeKeepsTheRules(t *testing.T) {
	problems, err := rules.Check(root)
	assert.NilError(t, err)
	for _, p := range problems {
		t.Error(p)
	}
}

// TestEachModuleBuildsAlone builds every module as if it were all there is,
// for both machines that skiff runs on: the workspace could lend a module what
// its own go.mod lacks.
func TestEachModuleBuildsAlone(t *testing.T) {
	modules, err := rules.Modules(root)
	assert.NilError(t, err)
	for _, m := range modules {
		for _, arch := range []string{"amd64", "arm64"} {
			t.Run(m.Dir+"/"+arch, func(t *testing.T) {
				cmd := exec.Command("go", "build", "-mod=readonly", "./...")
				cmd.Dir = filepath.Join(root, m.Dir)
				cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOARCH="+arch)
				out, err := cmd.CombinedOutput()
				assert.NilError(t, err, string(out))
			})
		}
	}
}

// TestFaults checks a small tree that breaks every rule; the archive's file
// want says what must be found.
func TestFaults(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/faults.txtar")
	assert.NilError(t, err)
	dir, want := t.TempDir(), ""
	for _, f := range archive.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		write(t, filepath.Join(dir, f.Name), string(f.Data))
	}
	assert.Equal(t, check(t, dir), want)
}

func TestFunctionThatFillsTheScreen(t *testing.T) {
	dir := oneModule(t)
	write(t, filepath.Join(dir, "final/fits.go"), function(60))
	assert.Equal(t, check(t, dir), "")

	write(t, filepath.Join(dir, "final/long.go"), function(61))
	assert.Equal(t, check(t, dir), "final/long.go:4: func f has 61 lines; 60 fit on a screen\n")

	assert.NilError(t, os.Rename(filepath.Join(dir, "final/long.go"), filepath.Join(dir, "final/long_test.go")))
	assert.Equal(t, check(t, dir), "", "a test may be longer")
}

func TestPathOfThisMachine(t *testing.T) {
	dir := oneModule(t)
	write(t, filepath.Join(dir, "final/testdata/run.golden"), "$ ls\n"+dir+"/final\n")
	write(t, filepath.Join(dir, "bin/skiff"), dir)
	write(t, filepath.Join(dir, "final/binary"), "\x00"+dir)
	assert.Equal(t, check(t, dir), fmt.Sprintf("final/testdata/run.golden:2: names %q, a folder of this machine\n", dir))
}

// oneModule returns a tree of one module, which keeps the rules.
func oneModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.work"), "go 1.26\n\nuse ./final\n")
	write(t, filepath.Join(dir, "final/go.mod"), "module skiff.example/final\n\ngo 1.26\n")
	return dir
}

// function returns a Go file with a function of so many lines.
func function(lines int) string {
	return "// Package final is an example.\npackage final\n\nfunc f() {" + strings.Repeat("\n", lines-1) + "}\n"
}

func write(t *testing.T, name, data string) {
	t.Helper()
	assert.NilError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	assert.NilError(t, os.WriteFile(name, []byte(data), 0o644))
}

// check returns the problems of the tree in dir, a line each.
func check(t *testing.T, dir string) string {
	t.Helper()
	problems, err := rules.Check(dir)
	assert.NilError(t, err)
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}
