// Package lines counts what somebody has to read who wants to know a program
// of this tree: the lines of our own source that it stands on.
//
// Tables that a program has written are data, and counted apart. Of the rest
// there are two measures. A program imports whole packages; the linker then
// leaves out the functions that nothing calls. The first measure counts all
// lines of the imported packages, the second only those that the program can
// run: declarations of types, constants and variables, and the functions that the
// linker kept.
package lines

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package says how many lines of a package a program stands on. A line counts
// that has more than blanks and comments.
type Package struct {
	Path      string
	Imported  int      // lines of all its files for this machine, without tests
	Linked    int      // of these, without the functions that are not linked
	Unlinked  []string // functions that are not linked, as the linker calls them
	Generated int      // lines of files that a program has written: "Code generated … DO NOT EDIT."
}

// Count builds the program in folder dir and returns the packages below the path
// ours that it imports; a package comes after those that it imports itself.
func Count(dir, ours string) ([]Package, error) {
	linked, err := link(dir, ours)
	if err != nil {
		return nil, err
	}
	list, err := command(dir, "list", "-deps", "-f", `{{.ImportPath}} {{.Dir}} {{join .GoFiles " "}}`)
	if err != nil {
		return nil, err
	}
	var packages []Package
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if !strings.HasPrefix(fields[0], ours+"/") {
			continue
		}
		p := Package{Path: strings.TrimPrefix(fields[0], ours+"/")}
		prefix := fields[0]
		if strings.Contains(prefix, "/cmd/") {
			prefix = "main" // what the linker calls a program's own package
		}
		for _, name := range fields[2:] {
			if err := p.add(filepath.Join(fields[1], name), prefix, linked); err != nil {
				return nil, err
			}
		}
		packages = append(packages, p)
	}
	return packages, nil
}

// command runs a command of the Go tool in dir.
func command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command("go", append([]string{name}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s in %s: %w", name, dir, err)
	}
	return string(out), nil
}

// add counts the lines of a file of the package.
func (p *Package) add(file, prefix string, linked map[string]bool) error {
	source, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	code := codeLines(source)
	if ast.IsGenerated(parsed) {
		p.Generated += len(code)
		return nil
	}
	p.Imported += len(code)
	p.Linked += len(code)
	for _, d := range parsed.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || linked[prefix+"."+symbol(fn)] {
			continue
		}
		p.Unlinked = append(p.Unlinked, symbol(fn))
		for line := set.Position(fn.Pos()).Line; line <= set.Position(fn.End()).Line; line++ {
			if code[line] {
				p.Linked--
			}
		}
	}
	return nil
}

// symbol returns what the linker calls a function, after its package.
func symbol(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	receiver, form := fn.Recv.List[0].Type, "%s.%s"
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver, form = star.X, "(*%s).%s"
	}
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver = generic.X
	}
	return fmt.Sprintf(form, receiver.(*ast.Ident).Name, fn.Name.Name)
}

// codeLines returns the lines of a source that hold a part of a token.
func codeLines(source []byte) map[int]bool {
	set := token.NewFileSet()
	file := set.AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			return lines
		}
		if tok == token.SEMICOLON && text == "\n" {
			continue // the scanner's own, at the end of a line or of the file
		}
		first := file.Line(pos)
		for line := range strings.Count(text, "\n") + 1 {
			lines[first+line] = true
		}
	}
}
