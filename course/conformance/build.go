package conformance

// This file gets the suite: the module runtime-tools at one version, from the
// Go module proxy (go.dev/ref/mod), built outside of this tree with a go.mod
// of its own, so that what it depends on is no dependency of ours. What was
// built is kept; a second run needs no network.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"skiff.example/stage01-chroot/hint"
)

// The suite. The sum is the module's hash as in a go.sum file.
const (
	module  = "github.com/opencontainers/runtime-tools"
	version = "v0.9.1-0.20251205004911-5e639034dcdc"
	sum     = "h1:82NlZLiQEB6Wp+nmASMlkHsEXz3Q0pXJbK7QO6ck5lo="
)

// inside is the program of the suite that its programs run in containers:
// it compares what it finds there with the configuration.
const inside = "runtimetest"

// Suite is the suite, built.
type Suite struct {
	Dir      string   // the programs, and what they read: runtimetest, the root file system
	Programs []string // their names, sorted
}

// Build returns the suite that is kept in the folder cache. What is not there
// yet is downloaded and built, which takes about 20 s.
func Build(ctx context.Context, cache string) (*Suite, error) {
	dir := filepath.Join(cache, "runtime-tools-"+version+"-"+runtime.GOARCH)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := build(ctx, cache, dir); err != nil {
			return nil, fmt.Errorf("build the validation suite of %s: %w", module, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Suite{Dir: dir}
	for _, file := range files {
		if name := file.Name(); filepath.Ext(name) == "" && name != inside {
			s.Programs = append(s.Programs, name)
		}
	}
	slices.Sort(s.Programs)
	return s, nil
}

// build makes dir at once, by renaming: two builds at a time do not meet, and
// one that is interrupted leaves no half of a suite.
func build(ctx context.Context, cache, dir string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	source, err := download(ctx, work)
	if err != nil {
		return hint.Add(err, "it comes from a Go module proxy, see: go env GOPROXY")
	}
	out := filepath.Join(work, "suite")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	rootfs := "rootfs-" + runtime.GOARCH + ".tar.gz" // its programs look for it in the folder that they run in
	archive, err := os.ReadFile(filepath.Join(source, rootfs))
	if err != nil {
		return hint.Add(err, "the suite brings a root file system for some kinds of machines only")
	}
	if err := os.WriteFile(filepath.Join(out, rootfs), archive, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-o", out + "/", module + "/validation/..."},
		{"-tags", "netgo osusergo", "-o", out + "/", module + "/cmd/" + inside},
	} {
		if _, err := goTool(ctx, work, append([]string{"build", "-trimpath", "-ldflags=-s -w"}, args...)...); err != nil {
			return err
		}
	}
	if err := os.Rename(out, dir); err != nil && !errors.Is(err, fs.ErrExist) { // another build was faster
		return err
	}
	return nil
}

// download has the Go tool fetch the module, and returns the folder of its
// source.
func download(ctx context.Context, work string) (string, error) {
	goMod := fmt.Sprintf("module skiff.example/conformance-suite\n\ngo 1.26\n\nrequire %s %s\n", module, version)
	if err := os.WriteFile(filepath.Join(work, "go.mod"), []byte(goMod), 0o644); err != nil {
		return "", err
	}
	out, err := goTool(ctx, work, "mod", "download", "-json", module+"@"+version)
	if err != nil {
		return "", err
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &got); err != nil {
		return "", fmt.Errorf("go mod download: %w", err)
	}
	if got.Sum != sum {
		return "", fmt.Errorf("%s %s has the sum %s, want %s", module, version, got.Sum, sum)
	}
	return got.Dir, nil
}

// goTool runs the Go tool in the folder of a module that may still change
// its own go.mod and go.sum.
func goTool(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=mod")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, out, said.Bytes())
	}
	return out, nil
}
