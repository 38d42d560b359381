// Package rules checks what the modules of the tree have promised each other:
//
//   - a stage imports earlier stages only, the finished runtime all of them,
//     and nothing imports the course;
//   - a dependency has the same version everywhere, so that a chapter's
//     program and the finished runtime are built from the same parts;
//   - every package and every file says what it is, and a function fits on a
//     screen;
//   - no file names a folder of the machine that it was written on.
//
// The test of this package applies them to the tree; it also builds each
// module without the workspace, as someone does who copies a single stage.
package rules

import (
	"cmp"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"skiff.example/course/report"
)

// Module is one module of the workspace.
type Module struct {
	Dir  string        // path from the root of the tree
	File *modfile.File // its go.mod
}

// path returns the path by which others import the module.
func (m Module) path() string { return m.File.Module.Mod.Path }

// goMod returns the path of the module's go.mod from the root of the tree.
func (m Module) goMod() string { return path.Join(m.Dir, "go.mod") }

// Modules returns the modules that go.work names, in the order in which they
// may build on each other: the stages, then final, then course.
func Modules(root string) ([]Module, error) {
	data, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		return nil, err
	}
	work, err := modfile.ParseWork("go.work", data, nil)
	if err != nil {
		return nil, err
	}
	var modules []Module
	for _, use := range work.Use {
		m := Module{Dir: path.Clean(use.Path)}
		data, err := os.ReadFile(filepath.Join(root, m.goMod()))
		if err != nil {
			return nil, err
		}
		if m.File, err = modfile.Parse(m.goMod(), data, nil); err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
	after := []string{"final", "course"}
	slices.SortFunc(modules, func(a, b Module) int {
		return cmp.Or(
			cmp.Compare(slices.Index(after, a.Dir), slices.Index(after, b.Dir)),
			cmp.Compare(a.Dir, b.Dir))
	})
	return modules, nil
}

// Check returns where the tree below root breaks the rules. The error is for a
// tree that cannot be read.
func Check(root string) ([]report.Problem, error) {
	modules, err := Modules(root)
	if err != nil {
		return nil, err
	}
	problems := checkVersions(modules)
	for i, m := range modules {
		files, err := readGo(root, m.Dir)
		if err != nil {
			return nil, err
		}
		problems = append(problems, checkRequirements(m, modules[i+1:])...)
		problems = append(problems, checkImports(files, modules[i+1:])...)
		problems = append(problems, checkComments(files)...)
		problems = append(problems, checkLengths(files)...)
	}
	paths, err := checkPaths(root)
	problems = append(problems, paths...)
	report.Sort(problems)
	return problems, err
}

// walk calls visit with the path from root of every file that belongs to the
// tree below dir: not what git keeps, not what make builds.
func walk(root, dir string, visit func(name string) error) error {
	return fs.WalkDir(os.DirFS(root), dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".git" || name == "bin":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.Type().IsRegular():
			return visit(name)
		}
		return nil
	})
}

// inTestdata tells whether a file is test material, which no rule but the one
// about machines' folders applies to.
func inTestdata(name string) bool {
	return slices.Contains(strings.Split(name, "/"), "testdata")
}
