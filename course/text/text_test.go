package text_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"gotest.tools/v3/assert"

	"skiff.example/course/report"
	"skiff.example/course/text"
)

// root is the root of the real tree.
const root = "../.."

// TestTextOfTheTree checks the real pages. When it fails, make text rewrites
// what is stale; the rest is mended by hand.
func TestTextOfTheTree(t *testing.T) {
	pages, err := text.Pages(root)
	assert.NilError(t, err)
	for _, page := range []string{"README.md", "workshop.md"} {
		assert.Check(t, slices.Contains(pages, page), "there is no %s", page)
	}
	problems, err := text.Check(root, pages...)
	assert.NilError(t, err)
	for _, p := range problems {
		t.Error(p)
	}
}

// TestFaults gives small trees with faults to Check. Each archive in testdata
// holds such a tree with a page.md, and in the file want the problems that
// must be found, no more and no fewer. Where there is a file updated, it is
// the page as Update must leave it, and left holds the problems that remain.
func TestFaults(t *testing.T) {
	// As below make -w text, where an inner make would announce its folders.
	t.Setenv("MAKELEVEL", "1")
	t.Setenv("MAKEFLAGS", "w")
	archives, err := filepath.Glob("testdata/*.txtar")
	assert.NilError(t, err)
	assert.Assert(t, len(archives) > 0)
	for _, path := range archives {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			dir, files := unpack(t, path)
			assert.Equal(t, check(t, dir), files["want"])

			updated, ok := files["updated"]
			if !ok {
				return
			}
			_, err := text.Update(dir, "page.md")
			assert.NilError(t, err)
			page, err := os.ReadFile(filepath.Join(dir, "page.md"))
			assert.NilError(t, err)
			assert.Equal(t, string(page), updated)
			assert.Equal(t, check(t, dir), files["left"])

			again, err := text.Update(dir, "page.md")
			assert.NilError(t, err)
			assert.Equal(t, lines(again), "", "a second update changes nothing")
		})
	}
}

func TestPagesLeavesOutWhatIsNoText(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"README.md", "docs/a.md", "x/testdata/b.md", "bin/c.md", ".git/d.md", "e.go"} {
		path := filepath.Join(dir, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		assert.NilError(t, os.WriteFile(path, nil, 0o644))
	}
	pages, err := text.Pages(dir)
	assert.NilError(t, err)
	assert.DeepEqual(t, pages, []string{"README.md", "docs/a.md"})
}

func TestPageThatIsNotThere(t *testing.T) {
	_, err := text.Check(t.TempDir(), "page.md")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// unpack writes an archive's files to a new folder and returns both.
func unpack(t *testing.T, path string) (dir string, files map[string]string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	assert.NilError(t, err)
	dir, files = t.TempDir(), map[string]string{}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
		path := filepath.Join(dir, f.Name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		assert.NilError(t, os.WriteFile(path, f.Data, 0o644))
	}
	return dir, files
}

// check returns the problems of the page.md in dir, a line each.
func check(t *testing.T, dir string) string {
	t.Helper()
	problems, err := text.Check(dir, "page.md")
	assert.NilError(t, err)
	return lines(problems)
}

func lines(problems []report.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}
