package rules

// This file checks what modules take from each other and from others: the
// direction of imports, and the versions in the go.mod files
// (go.dev/ref/mod).

import (
	"fmt"
	"go/version"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"skiff.example/course/report"
)

// checkImports reports imports of modules that come later, in tests too.
func checkImports(files []goFile, later []Module) []report.Problem {
	var problems []report.Problem
	for _, f := range files {
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser has accepted it, so it is a string
			}
			for _, m := range later {
				if imported == m.path() || strings.HasPrefix(imported, m.path()+"/") {
					problems = append(problems, f.at(spec.Pos(), "imports %q, which comes later", imported))
				}
			}
		}
	}
	return problems
}

// checkRequirements reports requirements of modules that come later.
func checkRequirements(m Module, later []Module) []report.Problem {
	var problems []report.Problem
	for _, r := range m.File.Require {
		for _, l := range later {
			if r.Mod.Path == l.path() {
				problems = append(problems, report.Problem{
					File: m.goMod(), Line: r.Syntax.Start.Line,
					What: fmt.Sprintf("requires %q, which comes later", r.Mod.Path),
				})
			}
		}
	}
	return problems
}

// checkVersions reports dependencies of which one module requires an older
// version than another does, and modules written for another Go.
func checkVersions(modules []Module) []report.Problem {
	type highest struct{ version, where string }
	of := map[string]highest{}
	language := ""
	for _, m := range modules {
		for _, r := range m.File.Require {
			if semver.Compare(r.Mod.Version, of[r.Mod.Path].version) > 0 {
				of[r.Mod.Path] = highest{r.Mod.Version, m.goMod()}
			}
		}
		if v := goVersion(m); version.Compare(v, language) > 0 {
			language = v
		}
	}
	var problems []report.Problem
	for _, m := range modules {
		for _, r := range m.File.Require {
			if h := of[r.Mod.Path]; r.Mod.Version != h.version {
				problems = append(problems, report.Problem{
					File: m.goMod(), Line: r.Syntax.Start.Line,
					What: fmt.Sprintf("requires %s %s, but %s has %s: go work sync makes them equal", r.Mod.Path, r.Mod.Version, h.where, h.version),
				})
			}
		}
		if v := goVersion(m); v != language {
			problems = append(problems, report.Problem{
				File: m.goMod(),
				What: fmt.Sprintf("is written for %s, but another module for %s", v, language),
			})
		}
	}
	return problems
}

// goVersion returns the Go language that a module is written for: "go1.26"
// for both 1.26 and 1.26.0.
func goVersion(m Module) string {
	if m.File.Go == nil {
		return "no version of Go"
	}
	return version.Lang("go" + m.File.Go.Version)
}
