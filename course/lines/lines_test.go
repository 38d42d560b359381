package lines_test

import (
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"skiff.example/course/lines"
)

// Functions count that are linked, small ones, instances and literals too; comments
// and blank lines do not.
func TestWhatIsLinkedIsCounted(t *testing.T) {
	t.Setenv("GOWORK", "off")
	packages, err := lines.Count("testdata/sample/cmd/program", "sample.example")
	assert.NilError(t, err)
	assert.DeepEqual(t, packages, []lines.Package{
		{Path: "part", Imported: 21, Linked: 17, Unlinked: []string{"(*Counter).Unused", "nobody"}, Generated: 5},
		{Path: "cmd/program", Imported: 9, Linked: 9},
	})
}

// The runtime is to be read: what skiff-oci stands on has a bound. runc 1.4.0,
// counted in the same way, has 15,158 lines of its own and 6,508 of its module for
// cgroups, and in C 939. Who has to raise the bound says what the lines are for.
func TestSkiffOCIIsToBeRead(t *testing.T) {
	// 335 of them read the command line, 150 catch signals and 300 read and write JSON, which
	// libraries did before: a program that runs for milliseconds waits for what those prepare.
	const bound = 16_700
	packages, err := lines.Count("../../final/cmd/skiff-oci", "skiff.example")
	assert.NilError(t, err)
	linked := 0
	for _, p := range packages {
		linked += p.Linked
	}
	if linked > bound {
		slices.SortFunc(packages, func(a, b lines.Package) int { return b.Linked - a.Linked })
		t.Errorf("skiff-oci stands on %d lines, more than %d; most of them are in %s: make lines", linked, bound, packages[0].Path)
	}
}
