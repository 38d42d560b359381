// Package text keeps what the course says true to what the code does.
//
// A Markdown page shows code, files and transcripts in fenced blocks. Each
// block is preceded by a marker, an HTML comment that no reader sees, which
// says where the block's content comes from:
//
//	<!-- code: stage01-chroot/plan/run.go#Plan.Run -->          a declaration of a Go file, with its doc comment
//	<!-- code: stage01-chroot/plan/run.go#Run doc="no" -->      the same without the doc comment
//	<!-- file: stage01-chroot/go.mod -->                        a whole file
//	<!-- golden: stage01-chroot/testdata/demo.golden -->        a golden file, which a test compares with a real run
//	<!-- command: make help -->                                 what a command prints (see commands)
//
// Each of them may be cut down to a part of its lines, by regular expressions:
//
//	from="^== mounts"    begin with the line that matches; exactly one line must
//	to="^}"              end with the next line that matches …
//	until="^=="          … or just before it
//
// A declaration's name is that of a function, a method (Type.Method), a type,
// a constant or a variable; of a group in parentheses the whole is shown.
//
// Blocks in the languages of freeFences are the author's own words and need no
// marker. Every other block does, so that no code and no transcript stands in
// the text unchecked.
//
// What the prose mentions is checked too: links to files and headings, paths
// and make targets in code spans. Check reports what is not so; Update
// rewrites the blocks.
package text

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"skiff.example/course/report"
)

// Pages returns the Markdown files of the tree below root, as paths from root.
// Folders called testdata, folders whose name begins with a dot and /bin hold
// no pages.
func Pages(root string) ([]string, error) {
	var pages []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || path == "bin" || path != "." && d.Name()[0] == '.'):
			return fs.SkipDir
		case strings.HasSuffix(path, ".md"):
			pages = append(pages, path)
		}
		return nil
	})
	return pages, err
}

// Check compares the named pages with the tree below root and returns what is
// wrong in them, in the order of the lines. The error is for a page that
// cannot be read at all.
func Check(root string, names ...string) ([]report.Problem, error) {
	t := newTree(root)
	var problems []report.Problem
	for _, name := range names {
		p, err := t.page(name)
		if err != nil {
			return nil, err
		}
		problems = append(problems, p.faults...)
		problems = append(problems, t.checkBlocks(p)...)
		problems = append(problems, t.checkLinks(p)...)
		problems = append(problems, t.checkMentions(p)...)
	}
	report.Sort(problems)
	return problems, nil
}

// Update rewrites the blocks of the named pages whose source says something
// else, and returns what was stale. A block whose source cannot be found stays
// as it is; Check tells.
func Update(root string, names ...string) ([]report.Problem, error) {
	t := newTree(root)
	var stale []report.Problem
	for _, name := range names {
		p, err := t.page(name)
		if err != nil {
			return stale, err
		}
		lines := slices.Clone(p.lines)
		// From the last to the first, so that a change of length moves no
		// block that is still to come.
		for _, b := range slices.Backward(p.blocks) {
			want, err := t.content(b)
			if err != nil || slices.Equal(b.body, want) {
				continue
			}
			stale = append(stale, report.Problem{File: name, Line: b.line, What: difference(b.body, want)})
			end := min(b.line+len(b.body)+1, len(lines)) // a block that is never closed ends with the page
			lines = slices.Replace(lines, b.line-1, end, b.render(want)...)
		}
		if slices.Equal(lines, p.lines) {
			continue
		}
		path := filepath.Join(root, name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			return stale, err
		}
	}
	report.Sort(stale)
	return stale, nil
}

// checkBlocks reports the blocks that differ from their source, and those
// whose source is not there or is not named.
func (t *tree) checkBlocks(p *page) []report.Problem {
	var problems []report.Problem
	for _, b := range p.blocks {
		switch want, err := t.content(b); {
		case b.marker == nil && !slices.Contains(freeFences, b.language):
			problems = append(problems, p.at(b.line, "a block in %q needs a marker before it that says where it comes from", b.language))
		case b.marker == nil:
		case err != nil:
			problems = append(problems, p.at(b.marker.line, "%s: %v", b.marker, err))
		case !slices.Equal(b.body, want):
			problems = append(problems, p.at(b.line, "stale: %s; make text rewrites it", difference(b.body, want)))
		}
	}
	return problems
}

// difference says in one line where a block's text leaves its source.
func difference(have, want []string) string {
	n := 0
	for n < len(have) && n < len(want) && have[n] == want[n] {
		n++
	}
	switch {
	case n == len(have):
		return fmt.Sprintf("the source goes on after line %d of the block with %q", n, want[n])
	case n == len(want):
		return fmt.Sprintf("the source ends before line %d of the block, %q", n+1, have[n])
	}
	return fmt.Sprintf("line %d of the block is %q, the source has %q", n+1, have[n], want[n])
}
