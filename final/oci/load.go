// Package oci reads a container's configuration (config.json of the OCI
// runtime specification) and turns it into a plan.
package oci

import (
	"encoding/json"
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
// demands ("Extensibility"); values that cannot be are errors.
func Load(dir string) (*specs.Spec, error) {
	file := filepath.Join(dir, "config.json")
	text, err := readLimited(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Add(fmt.Errorf("load bundle %q: no config.json", dir),
			"a bundle is a folder with config.json and a root file system; `skiff-oci spec` writes a config.json")
	}
	if err != nil {
		return nil, fmt.Errorf("load bundle %q: %w", dir, err)
	}
	var c configuration
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("load %q: %w", file, describe(err, text))
	}
	spec := c.spec()
	if len(allHooks(spec.Hooks)) == 0 {
		spec.Hooks = nil // nobody need wait for them
	}
	if err := validate(spec); err != nil {
		return nil, fmt.Errorf("load %q: %w", file, err)
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("load %q: %w", file, err)
	}
	fromBundle(spec, absolute)
	return spec, nil
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

// A configuration is what specs.Spec has for Linux. encoding/json looks at
// every type that a text could have before it reads the text, and those for
// Windows, Solaris, z/OS and virtual machines take it as long as all others.
type configuration struct {
	Version     string            `json:"ociVersion"`
	Process     *specs.Process    `json:"process"`
	Root        *specs.Root       `json:"root"`
	Hostname    string            `json:"hostname"`
	Domainname  string            `json:"domainname"`
	Mounts      []specs.Mount     `json:"mounts"`
	Hooks       *specs.Hooks      `json:"hooks"`
	Annotations map[string]string `json:"annotations"`
	Linux       *specs.Linux      `json:"linux"`
}

// spec is the configuration as everybody else has it.
func (c *configuration) spec() *specs.Spec {
	return &specs.Spec{
		Version: c.Version, Process: c.Process, Root: c.Root, Hostname: c.Hostname, Domainname: c.Domainname,
		Mounts: c.Mounts, Hooks: c.Hooks, Annotations: c.Annotations, Linux: c.Linux,
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

// describe says at which line a text is no JSON, or of the wrong type.
func describe(err error, text []byte) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", lineOf(text, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %q is a %s, want %s", lineOf(text, kind.Offset), kind.Field, kind.Value, kind.Type)
	}
	return err
}

// lineOf is the number of the line that holds the byte at offset.
func lineOf(text []byte, offset int64) int {
	line := 1
	for _, c := range text[:min(int(offset), len(text))] {
		if c == '\n' {
			line++
		}
	}
	return line
}
