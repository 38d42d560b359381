// Package demoimage builds the image that the demonstrations run: three layers
// of programs that this host has, so that it needs no network and no file from
// anybody.
//
//	layer 1  the least a container needs: a shell, ls, cat, id; a greeting; a secret
//	layer 2  tools to look around with: ps, mount, hostname, ip, ping …
//	layer 3  a correction: another greeting, and the secret is gone
//
// Layer 3 shows what a layer is: not a copy of everything, but what has changed
// since the layers below. See image-spec layer.md, "Applying Changesets".
package demoimage

import (
	"fmt"
	"os/exec"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage05-images/assemble"
)

// required are the programs of layer 1, without which there is no image.
var required = []string{"sh", "ls", "cat", "id"}

// wanted are the programs of layer 2, as far as the host has them.
var wanted = []string{
	"bash", "ps", "mount", "hostname", "ip", "ping", "uname", "env", "mkdir", "rm", "df", "head", "wc", "sleep", "dd", "nproc",
}

// The files that the layers differ in, and what is in them.
const (
	Motd   = "etc/motd"
	Secret = "etc/secret-note"

	FirstGreeting = "Welcome to layer 1.\n"
	LastGreeting  = "Welcome to layer 3: it covers the greeting of layer 1.\n"
	secretText    = "This should never have been published.\n"
)

// Build builds the image for this host. On one host it is the same each time,
// down to the digest. It is an error when sh, ls, cat or id is missing.
func Build() (v1.Image, error) {
	base, err := rootfs.FromPrograms(required...)
	if err != nil {
		return nil, fmt.Errorf("build the demo image: %w", err)
	}
	tools, err := toolsAbove(base)
	if err != nil {
		return nil, fmt.Errorf("build the demo image: %w", err)
	}
	base.Add(rootfs.File{Name: Motd, Mode: 0o644, Data: []byte(FirstGreeting), Why: "to be changed"})
	base.Add(rootfs.File{Name: Secret, Mode: 0o600, Data: []byte(secretText), Why: "to be deleted"})
	correction := assemble.Files(
		assemble.Regular(Motd, LastGreeting, 0o644),
		assemble.Whiteout(Secret),
	)
	return assemble.Image([]assemble.Layer{base.Tar, tools.Tar, correction}, assemble.Options{
		Config: ocispec.ImageConfig{
			Cmd:        []string{"sh"},
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			WorkingDir: "/",
		},
	})
}

// toolsAbove plans the wanted programs that the host has, without the files
// that are in the layer below already: most libraries are.
func toolsAbove(base *rootfs.Closure) (*rootfs.Closure, error) {
	all, err := rootfs.FromPrograms(present(wanted)...)
	if err != nil {
		return nil, err
	}
	below := map[string]bool{}
	for _, f := range base.Files() {
		below[f.Name] = true
	}
	tools := &rootfs.Closure{}
	for _, f := range all.Files() {
		if !below[f.Name] {
			tools.Add(f)
		}
	}
	return tools, nil
}

// present returns the programs that are in $PATH.
func present(names []string) []string {
	var found []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			found = append(found, name)
		}
	}
	return found
}
