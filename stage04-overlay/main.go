// Stage04 runs a program in a container whose files are stacked layers.
//
// A container needs a root file system, and it will write to it. A copy for
// each container would be safe, and slow, and a hundred times the size of one.
// Overlayfs gives each container the view of a copy: it shows several
// directories as one. The lower ones are only read, so all containers share
// them. The upper one belongs to the container. A file that is written to is
// first copied up; a file that is deleted is covered by a whiteout, because
// the lower directory must not change (overlayfs.rst in the kernel's
// documentation).
//
// So a container's upper directory holds what it has changed, and no more.
// Packed into a tar file, with the whiteouts as names, it is a layer: what
// images are made of (image-spec layer.md). And since layers come from
// strangers, unpacking one is where a runtime as root writes files under names
// that somebody else has chosen. This chapter's attack is there.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage04-overlay/overlay"
)

// run runs argv in a container called name. Its files are those of lower,
// topmost first, and what it writes goes to the directory writable, which
// stays. If writable is "", it goes to one that is removed in the end.
func run(ctx context.Context, stateDir, name string, lower []string, writable string, argv []string) (err error) {
	folder, err := state.Open(stateDir, name, journal.Files())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }() // undoes the journal

	if writable == "" {
		writable = filepath.Join(folder.Path, "writable")
		if err := folder.Journal.Record("remove-all", writable); err != nil {
			return err
		}
	}
	layers, err := overlay.Prepare(writable, lower)
	if err != nil {
		return err
	}
	target := filepath.Join(folder.Path, "root")
	if err := folder.Journal.Record("rmdir", target); err != nil {
		return err
	}
	if err := os.Mkdir(target, 0o700); err != nil {
		return fmt.Errorf("make the mount point of the layers: %w", err)
	}
	box, err := box(layers, target, argv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Namespaces.Close()) }()
	status, err := box.Run(ctx)
	if err != nil {
		return err
	}
	return container.Failed(status)
}

// box is the container of chapter 2, whose root is stacked first: that is the
// first thing that it does with mounts of its own. No other process ever sees
// that mount, and it goes away with the container.
func box(layers overlay.Stack, target string, argv []string) (*container.Container, error) {
	steps, err := layers.Steps(target)
	if err != nil {
		return nil, err
	}
	namespaces, err := container.Own()
	if err != nil {
		return nil, err
	}
	return &container.Container{
		Namespaces: namespaces, Layers: steps, Root: target, Hostname: "stage04",
		Argv: argv, Env: container.Environment(),
	}, nil
}

// unpack makes the directory dir and unpacks a layer in it. Lower are the
// layers below, topmost first. If it fails, nothing is left of dir.
func unpack(archive, dir string, lower []string) (err error) {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer f.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if _, err := layer.Apply(dir, f, layer.Options{Lower: lower}); err != nil {
		return errors.Join(err, journal.RemoveAll(dir))
	}
	return nil
}

func main() { os.Exit(command.Run(app(), os.Args)) }
