package vm

// This file builds what runs in the machine with the Go tool: test programs
// (go test -c), the programs that tests would build themselves, the guest. In
// the machine each is in the folder of its package, below SourceDir, as in the
// tree on the host; this is also how package testkit finds a program that a
// test asks for.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"skiff.example/course/vm/wire"
	"skiff.example/stage01-chroot/rootfs"
)

// sourceDir is the folder in the machine that the packages are in, each below
// its import path.
const sourceDir = "src"

// guestPackage is the program that is the machine's first process.
const guestPackage = "./course/vm/guest"

// goPackage is what `go list` says of a package.
type goPackage struct{ ImportPath, Name, Dir string }

// builder builds for one machine.
type builder struct {
	root  string // of the tree
	out   string // what is built goes here
	files []rootfs.File
	have  map[string]bool // names of files
}

// newBuilder begins with what every machine has: programs of the host, and
// empty directories. What is built goes into the folder out.
func newBuilder(root, out string, programs []string) (*builder, error) {
	host, err := rootfs.FromPrograms(programs...)
	if err != nil {
		return nil, err
	}
	b := &builder{root: root, out: out, files: host.Files(), have: map[string]bool{}}
	for _, f := range b.files {
		b.have[f.Name] = true
	}
	for _, dir := range directories {
		b.add(directory(dir))
	}
	return b, nil
}

// goTool runs the Go tool in the root of the tree, for static programs.
func (b *builder) goTool(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return out, nil
}

// list returns the packages in the folders, which are paths from the root.
func (b *builder) list(ctx context.Context, dirs []string) ([]goPackage, error) {
	args := []string{"list", "-json=ImportPath,Name,Dir"}
	for _, dir := range dirs {
		args = append(args, "./"+dir)
	}
	out, err := b.goTool(ctx, args...)
	if err != nil {
		return nil, err
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		packages = append(packages, p)
	}
	return packages, nil
}

// build runs `go build` or `go test -c` for packages and plans their programs
// as files of the machine. Two packages whose last names are the same would
// write the same file, so that each round takes only one of them.
func (b *builder) build(ctx context.Context, packages []goPackage, suffix string, verb ...string) error {
	for round := 0; len(packages) > 0; round++ {
		dir := filepath.Join(b.out, fmt.Sprintf("%s%d", suffix, round))
		args := append(append([]string{}, verb...), "-o", dir+"/")
		taken := map[string]bool{}
		var later []goPackage
		for _, p := range packages {
			name := path.Base(p.ImportPath)
			if taken[name] {
				later = append(later, p)
				continue
			}
			taken[name] = true
			args = append(args, p.ImportPath)
			b.add(regular(path.Join(sourceDir, p.ImportPath, name+suffix), filepath.Join(dir, name+suffix), 0o755))
		}
		if _, err := b.goTool(ctx, args...); err != nil {
			return err
		}
		packages = later
	}
	return nil
}

// add plans a file and the directories on the way to it.
func (b *builder) add(f rootfs.File) {
	if b.have[f.Name] {
		return
	}
	if parent := path.Dir(f.Name); parent != "." {
		b.add(directory(parent))
	}
	b.have[f.Name] = true
	b.files = append(b.files, f)
}

// addTestdata plans a package's testdata folder, without the source of the
// programs in it.
func (b *builder) addTestdata(p goPackage) error {
	top := filepath.Join(p.Dir, "testdata")
	err := filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(file) == ".go" {
			return err
		}
		name, err := filepath.Rel(p.Dir, file)
		b.add(regular(path.Join(sourceDir, p.ImportPath, filepath.ToSlash(name)), file, 0o644))
		return err
	})
	if _, missing := os.Stat(top); os.IsNotExist(missing) {
		return nil
	}
	return err
}

// programsOf returns the folders of the programs that a package's tests may
// build: the package itself, those in its testdata, those that the list names.
// Not all of them need to be programs.
func (b *builder) programsOf(p Package) ([]string, error) {
	dirs := append([]string{p.Dir}, p.Programs...)
	sources, err := filepath.Glob(filepath.Join(b.root, p.Dir, "testdata", "*", "main.go"))
	for _, source := range sources {
		dirs = append(dirs, path.Join(p.Dir, "testdata", filepath.Base(filepath.Dir(source))))
	}
	return dirs, err
}

// addPrograms builds the programs that the tests of the packages build.
func (b *builder) addPrograms(ctx context.Context, packages []Package) error {
	dirs := append([]string{}, everyTestBuilds...)
	for _, p := range packages {
		more, err := b.programsOf(p)
		if err != nil {
			return err
		}
		dirs = append(dirs, more...)
	}
	found, err := b.list(ctx, dirs)
	if err != nil {
		return err
	}
	var mains []goPackage
	seen := map[string]bool{}
	for _, p := range found {
		if p.Name == "main" && !seen[p.ImportPath] {
			seen[p.ImportPath] = true
			mains = append(mains, p)
		}
	}
	flags := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"}
	for _, p := range mains {
		own, err := os.ReadFile(filepath.Join(p.Dir, "ldflags"))
		if err == nil {
			flags = append(flags, "-ldflags="+p.ImportPath+"="+strings.TrimSpace(string(own)))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return b.build(ctx, mains, "", flags...)
}

// guest builds the machine's first process and returns its path.
func (b *builder) guest(ctx context.Context) (string, error) {
	program := filepath.Join(b.out, "guest")
	_, err := b.goTool(ctx, "build", "-ldflags=-s -w", "-o", program, guestPackage)
	return program, err
}

// addStages builds the programs of the stages and plans them in a folder of
// PATH, by the names that make build gives them.
func (b *builder) addStages(ctx context.Context) error {
	found, err := filepath.Glob(filepath.Join(b.root, "stage[0-9][0-9]-*"))
	if err != nil {
		return err
	}
	args := []string{"build", "-ldflags=-s -w", "-o", b.out + "/"}
	for _, dir := range found {
		folder := filepath.Base(dir)
		name, _, _ := strings.Cut(folder, "-")
		args = append(args, "./"+folder)
		b.add(regular("usr/local/bin/"+name, filepath.Join(b.out, folder), 0o755))
	}
	_, err = b.goTool(ctx, args...)
	return err
}

// job returns what runs the tests of a package, in its folder.
func (p goPackage) job(args ...string) wire.Job {
	dir := path.Join("/", sourceDir, p.ImportPath)
	return wire.Job{
		Name: p.ImportPath,
		Args: append([]string{path.Join(dir, path.Base(p.ImportPath)+".test")}, args...),
		Dir:  dir,
		Env:  environment,
	}
}

// environment of the jobs. CI=true makes a failure of a test that skips itself
// for want of a program.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp",
	"CI=true", "SKIFF_PREBUILT=/" + sourceDir,
}
