package rules_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// heavy are packages that a program is given by others that it uses for little: what
// they prepare at each start, and their code, costs a runtime that lives for some
// milliseconds a tenth of its time (GODEBUG=inittrace=1, package runtime).
var heavy = []string{
	"github.com/docker/go-units", "github.com/urfave/cli/v2", "html/template", "net", "net/http", "net/netip", "net/url", "regexp", "text/template",
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
