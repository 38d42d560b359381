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

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/namespace"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage04-overlay/overlay"
)

// run runs argv in a container whose files are those of o.lower. What it writes
// goes to the directory o.writable, which stays, or to one that is removed in the
// end. That one is in the journal before it is made (chapter 3).
func run(ctx context.Context, o options, argv []string) (err error) {
	folder, err := state.Open(o.stateDir, o.name, journal.Files())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }() // undoes the journal

	writable := o.writable
	if writable == "" {
		writable = filepath.Join(folder.Path, "writable")
		if err := folder.Journal.Record("remove-all", writable); err != nil {
			return err
		}
	}
	layers, err := overlay.Prepare(writable, o.lower)
	if err != nil {
		return err
	}
	layers.Volatile = o.writable == ""
	lock, err := overlay.Lock(writable)
	if err != nil {
		return err
	}
	defer lock.Close()
	if o.copy {
		return runOnCopy(ctx, o, folder, layers, argv)
	}
	err = runOnLayers(ctx, o, folder, layers, argv)
	// A copy would be without what the writable layer has from before.
	if overlay.Refused(err) && !o.hasIDs() && isEmpty(layers.Upper) {
		fmt.Fprintf(o.aside, "stage04: overlayfs is refused: %v\n", err)
		return runOnCopy(ctx, o, folder, layers, argv)
	}
	return err
}

// runOnLayers stacks the layers and runs the container on them.
func runOnLayers(ctx context.Context, o options, folder *state.Folder, layers overlay.Stack, argv []string) (err error) {
	target := filepath.Join(folder.Path, "root")
	if o.hasIDs() {
		// The container's root is not root in the folder's eyes, and cannot get
		// there. This one is empty for all but the container.
		target = fmt.Sprintf("/run/skiff-stage04.%d", os.Getpid())
	}
	if err := folder.Journal.Record("rmdir", target); err != nil {
		return err
	}
	if err := os.Mkdir(target, 0o755); err != nil {
		return fmt.Errorf("make the mount point of the layers: %w", err)
	}
	box, err := newBox(o, target, argv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Namespaces.Close()) }()
	box.Layers = func(p *plan.Plan) error { return layers.Steps(p, target) }
	if o.hasIDs() {
		mounted, err := layers.IDMapped(box.Maps.UIDs, box.Maps.GIDs)
		if err != nil {
			return err
		}
		defer mounted.Close()
		box.Layers = func(p *plan.Plan) error { overlay.Attach(p, mounted, target); return nil }
	}
	return runBox(ctx, box)
}

// newBox is the container of chapter 2, whose root is stacked first: that is the
// first thing that it does with mounts of its own. No other process ever sees
// that mount, and it goes away with the container. Without root it has a user
// namespace, in which nobody but its user is.
func newBox(o options, root string, argv []string) (*container.Container, error) {
	var more []specs.LinuxNamespace
	if o.hasIDs() || os.Geteuid() != 0 {
		more = append(more, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	namespaces, err := container.Own(more...)
	if err != nil {
		return nil, err
	}
	uids := []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), Size: 1}}
	gids := []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), Size: 1}}
	if o.hasIDs() {
		uids[0] = specs.LinuxIDMapping{HostID: o.ids, Size: manyIDs}
		gids = uids
	}
	return &container.Container{
		Namespaces: namespaces, Maps: namespace.Maps{UIDs: uids, GIDs: gids},
		Root: root, Hostname: "stage04", Argv: argv, Env: container.Environment(), Explain: o.explain,
	}, nil
}

// runBox runs a container, and fails as its program does.
func runBox(ctx context.Context, box *container.Container) error {
	status, err := box.Run(ctx)
	if err != nil {
		return err
	}
	return container.Failed(status)
}

func main() { os.Exit(command.Run(app(), os.Args)) }
