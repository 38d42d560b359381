package vm

// This file gets a kernel: Debian's package linux-image-amd64 names the one of
// this release, apt-get(8) downloads it, dpkg-deb(1) unpacks it, and what the
// machine needs of its 400 MB goes into a cache. Nothing is installed, and
// none of it needs root.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// kernelPackage depends on the package that holds the kernel, whose name has
// the version in it.
const kernelPackage = "linux-image-amd64"

// Kernel is a kernel in the cache.
type Kernel struct {
	Package string            // Debian's package that it is from
	Wanted  []string          // the modules that were asked for
	Modules []string          // files of modules, in the order in which they load
	Sums    map[string]string // file → SHA-256, by which a damaged cache is known

	dir string
}

const (
	imageFile    = "vmlinuz"
	manifestFile = "kernel.json" // the Kernel itself
)

func (k *Kernel) image() string             { return filepath.Join(k.dir, imageFile) }
func (k *Kernel) module(name string) string { return filepath.Join(k.dir, name) }

// FindKernel returns the kernel in the cache, a directory that is made if it
// is missing, with the modules called wanted and those that they need. One
// that is not there, or damaged, or has not all of these modules, is made
// anew, which takes about ten seconds. A process that comes while another
// makes it waits.
//
// Removing the cache is how to get a newer one.
func FindKernel(ctx context.Context, cache string, wanted []string) (*Kernel, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("the virtual machine is an amd64 and this host an %s: %w", runtime.GOARCH, errors.ErrUnsupported)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir := filepath.Join(cache, "kernel")
	if k, err := load(dir, wanted); err == nil {
		return k, nil
	}
	if err := makeKernel(ctx, dir, wanted); err != nil {
		return nil, fmt.Errorf("kernel for the virtual machine: %w", err)
	}
	return load(dir, wanted)
}

// lock takes a lock that ends with the process: flock(2).
func lock(path string) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	return func() { file.Close() }, nil
}

// load reads a kernel from the cache and looks at every byte of it.
func load(dir string, wanted []string) (*Kernel, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, err
	}
	k := &Kernel{dir: dir}
	if err := json.Unmarshal(text, k); err != nil {
		return nil, err
	}
	if !slices.Equal(k.Wanted, wanted) {
		return nil, fmt.Errorf("kernel %s was made for other modules", k.Package)
	}
	for _, name := range append([]string{imageFile}, k.Modules...) {
		sum, err := sumOf(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if sum != k.Sums[name] {
			return nil, fmt.Errorf("%q is not what it was when it was made", filepath.Join(dir, name))
		}
	}
	return k, nil
}

func sumOf(path string) (string, error) {
	data, err := os.ReadFile(path)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

// makeKernel makes the kernel in a folder beside dir and moves it there when
// it is complete.
func makeKernel(ctx context.Context, dir string, wanted []string) error {
	work := dir + ".new"
	if err := os.RemoveAll(work); err != nil { // of a process that was killed
		return err
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	k := &Kernel{Wanted: wanted, Sums: map[string]string{}, dir: filepath.Join(work, "kernel")}
	tree := filepath.Join(work, "package")
	if err := k.unpack(ctx, work, tree); err != nil {
		return err
	}
	if err := k.keep(tree); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(k.dir, dir)
}

// dependency is the line of `apt-cache depends` that names the kernel's
// package.
var dependency = regexp.MustCompile(`(?m)^ +Depends: (linux-image-[0-9]\S*)$`)

// unpack downloads the package into work and unpacks it into tree.
func (k *Kernel) unpack(ctx context.Context, work, tree string) error {
	out, err := command(ctx, work, "apt-cache", "depends", kernelPackage)
	if err != nil {
		return err
	}
	match := dependency.FindStringSubmatch(out)
	if match == nil {
		return hint.Add(fmt.Errorf("apt-cache knows no package that %s depends on", kernelPackage),
			"the kernel is Debian's; where the lists of packages are missing, apt-get update brings them")
	}
	k.Package = match[1]
	if _, err := command(ctx, work, "apt-get", "download", k.Package); err != nil {
		return hint.Add(err, "old lists of packages name files that are gone: apt-get update")
	}
	found, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("apt-get download %s brought %d packages, not one", k.Package, len(found))
	}
	_, err = command(ctx, work, "dpkg-deb", "-x", found[0], tree)
	return err
}

// command runs a program of the host and returns what it says.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out), nil
}

// keep copies the image and the modules from the package's tree into k.dir.
func (k *Kernel) keep(tree string) error {
	release := strings.TrimPrefix(k.Package, "linux-image-")
	files, err := moduleFiles(filepath.Join(tree, "lib/modules", release), k.Wanted)
	if err != nil {
		return err
	}
	if err := os.Mkdir(k.dir, 0o755); err != nil {
		return err
	}
	if err := k.take(filepath.Join(tree, "boot", "vmlinuz-"+release), imageFile); err != nil {
		return err
	}
	for _, file := range files {
		if err := k.take(file, filepath.Base(file)); err != nil {
			return err
		}
		k.Modules = append(k.Modules, filepath.Base(file))
	}
	text, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(k.dir, manifestFile), append(text, '\n'), 0o644)
}

// take copies a file into k.dir and remembers its sum.
func (k *Kernel) take(source, name string) error {
	data, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	k.Sums[name] = hex.EncodeToString(sum[:])
	return os.WriteFile(filepath.Join(k.dir, name), data, fs.FileMode(0o644))
}
