package rules_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// heavy are packages that a program is given by others that it uses for little: what
// they prepare at each start, and their code, is what a runtime that lives for some
// milliseconds would wait for (GODEBUG=inittrace=1, package runtime).
var heavy = []string{
	"github.com/urfave/cli/v2", "html/template", "net", "net/http", "net/netip", "net/url", "regexp", "text/template",
}

// linked are those of them that the program in this folder of the module final is
// linked with.
func linked(t *testing.T, dir string) (found []string) {
	list := exec.Command("go", "list", "-deps", dir)
	list.Dir = filepath.Join(root, "final")
	out, err := list.Output()
	assert.NilError(t, err)
	for _, path := range strings.Fields(string(out)) {
		if slices.Contains(heavy, path) {
			found = append(found, path)
		}
	}
	slices.Sort(found)
	return found
}

func TestSkiffOCIIsLinkedWithNothingHeavy(t *testing.T) {
	assert.DeepEqual(t, linked(t, "./cmd/skiff-oci"), []string(nil))
	assert.Assert(t, slices.Contains(linked(t, "./cmd/skiff"), "github.com/urfave/cli/v2"), "the other programs have it: the list is read")
}

// What a package prepares before main, maps above all, is prepared at each start,
// whether or not it is used. A table that the linker lays out costs nothing: an array
// of structs, a switch. Only the kinds of namespaces, which every container needs, are
// made from those of another package, and shortlived is there to prepare.
func TestSkiffOCIPreparesNothing(t *testing.T) {
	program := filepath.Join(t.TempDir(), "skiff-oci")
	build := exec.Command("go", "build", "-o", program, "./cmd/skiff-oci")
	build.Dir = filepath.Join(root, "final")
	out, err := build.CombinedOutput()
	assert.NilError(t, err, string(out))
	version := exec.Command(program, "--version")
	version.Env = append(os.Environ(), "GODEBUG=inittrace=1") // a line for each package: package runtime
	out, err = version.CombinedOutput()
	assert.NilError(t, err, string(out))
	var ours []string
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "init "), " @")
		if name == "main" || strings.HasPrefix(name, "skiff.example/") {
			ours = append(ours, name)
		}
	}
	assert.DeepEqual(t, ours, []string{"skiff.example/final/shortlived", "skiff.example/stage02-namespaces/namespace"})
}
