// Package oci reads a container's configuration (config.json of the OCI
// runtime specification) and turns it into a plan.
package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/mount"
)

// maxConfig is how large a config.json may be, in bytes. Real ones have some
// tens of kilobytes.
const maxConfig = 4 << 20

// Load reads config.json of the bundle in dir, and makes its relative paths
// absolute. Fields that the specification does not have are ignored, as it
// demands ("Extensibility"); values that cannot be are errors. text is what stands in
// the file.
func Load(dir string) (spec *specs.Spec, text []byte, err error) {
	bundle, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("load bundle %q: %w", dir, err)
	}
	return load(dir, bundle)
}

// LoadCopy is Load for a copy of the file, in dir, of the bundle in another folder.
func LoadCopy(dir, bundle string) (*specs.Spec, error) {
	spec, _, err := load(dir, bundle)
	return spec, err
}

func load(dir, bundle string) (spec *specs.Spec, text []byte, err error) {
	file := filepath.Join(dir, "config.json")
	text, err = readLimited(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, hint.Add(fmt.Errorf("load bundle %q: no config.json", dir),
			"a bundle is a folder with config.json and a root file system; `skiff-oci spec` writes a config.json")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("load bundle %q: %w", dir, err)
	}
	spec = &specs.Spec{}
	if err := Decode(text, spec); err != nil {
		return nil, nil, fmt.Errorf("load %q: %w", file, err)
	}
	if len(allHooks(spec.Hooks)) == 0 {
		spec.Hooks = nil // nobody need wait for them
	}
	if err := validate(spec); err != nil {
		return nil, nil, fmt.Errorf("load %q: %w", file, err)
	}
	fromBundle(spec, bundle)
	return spec, text, nil
}

// fromBundle makes paths absolute that are relative to the bundle: config.md, "Root"
// and, of bind mounts, "source".
func fromBundle(s *specs.Spec, bundle string) {
	paths := []*string{&s.Root.Path}
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if o, err := mount.ParseOptions(m.Options); m.Type == "bind" || err == nil && o.Bind {
			paths = append(paths, &m.Source)
		}
	}
	for _, p := range paths {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(bundle, *p)
		}
	}
}

// readLimited reads a file of at most maxConfig bytes.
func readLimited(file string) ([]byte, error) {
	// Without waiting: a FIFO in this place has no other end.
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a plain file", filepath.Base(file)))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("%s is larger than %d bytes", filepath.Base(file), maxConfig)
	}
	return text, err
}
