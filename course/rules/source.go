package rules

// This file checks how the Go source is written: comments that say what a
// package and a file are, and functions that can be seen at one glance.

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"

	"skiff.example/course/report"
)

// longest is how many lines a function may have, from func to the closing
// brace: what fits on a screen.
const longest = 60

// goFile is a parsed Go file.
type goFile struct {
	*ast.File
	name string // path from the root of the tree
	set  *token.FileSet
}

// readGo parses the Go files of the module in dir.
func readGo(root, dir string) ([]goFile, error) {
	var files []goFile
	set := token.NewFileSet()
	err := walk(root, dir, func(name string) error {
		if path.Ext(name) != ".go" || inTestdata(name) {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(set, name, data, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, goFile{parsed, name, set})
		return err
	})
	return files, err
}

// at makes a problem of a place in the file.
func (f goFile) at(pos token.Pos, format string, args ...any) report.Problem {
	return report.Problem{File: f.name, Line: f.set.Position(pos).Line, What: fmt.Sprintf(format, args...)}
}

func (f goFile) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// checkComments reports packages without a package comment, and files that do
// not open with a paragraph. Tests are named after what they show; they need
// neither.
func checkComments(files []goFile) []report.Problem {
	var problems []report.Problem
	first, said := map[string]goFile{}, map[string]bool{}
	var dirs []string
	for _, f := range files {
		if f.isTest() {
			continue
		}
		dir := path.Dir(f.name)
		if _, seen := first[dir]; !seen {
			first[dir] = f
			dirs = append(dirs, dir)
		}
		said[dir] = said[dir] || f.Doc != nil
		if !f.opens() {
			problems = append(problems, f.at(f.Package, "the file does not open with a paragraph that says what it is"))
		}
	}
	for _, dir := range dirs {
		if !said[dir] {
			problems = append(problems, first[dir].at(first[dir].Package, "package %s has no package comment", first[dir].Name.Name))
		}
	}
	return problems
}

// opens tells whether a file opens with a paragraph: a comment before the
// first declaration that is not this declaration's own.
func (f goFile) opens() bool {
	for _, group := range f.Comments {
		if strings.HasPrefix(group.List[0].Text, "//go:") {
			continue // for the compiler, as //go:build
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
				continue
			}
			return group.End() < d.Pos() && group != documentation(d)
		}
		return true
	}
	return false
}

// documentation returns the doc comment of a declaration.
func documentation(d ast.Decl) *ast.CommentGroup {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return d.Doc
	case *ast.GenDecl:
		return d.Doc
	}
	return nil
}

// checkLengths reports functions that are too long, outside tests.
func checkLengths(files []goFile) []report.Problem {
	var problems []report.Problem
	for _, f := range files {
		if f.isTest() {
			continue
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1
			if lines > longest {
				problems = append(problems, f.at(fn.Pos(), "func %s has %d lines; %d fit on a screen", fn.Name.Name, lines, longest))
			}
		}
	}
	return problems
}
