package text

// This file finds a declaration in a Go file by its name and returns it as it
// is written there, comments and blank lines included.

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// declaration returns the lines of the declaration called name: "Run",
// "Plan.Run" for a method of Plan or *Plan, or any name in a group. withDoc
// says whether its doc comment is part of it.
func declaration(source []byte, name string, withDoc bool) ([]string, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("the file is not valid Go: %w", err)
	}
	var all []string
	for _, d := range file.Decls {
		names, doc := declared(d)
		if !slices.Contains(names, name) {
			all = append(all, names...)
			continue
		}
		start := d.Pos()
		if withDoc && doc != nil {
			start = doc.Pos()
		}
		// Whole lines, for the comment after a closing brace.
		lines := strings.Split(string(source), "\n")
		return lines[set.Position(start).Line-1 : set.Position(d.End()).Line], nil
	}
	return nil, fmt.Errorf("the file declares no %q, but %s", name, strings.Join(all, ", "))
}

// declared returns the names that a declaration declares, and its doc comment.
func declared(d ast.Decl) (names []string, doc *ast.CommentGroup) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			name = receiver(d.Recv.List[0].Type) + "." + name
		}
		return []string{name}, d.Doc
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
		return names, d.Doc
	}
	return nil, nil
}

// receiver returns the name of a receiver's type, without pointer and type
// parameters.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
