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
	"os/signal"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
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
	p, err := container(layers, target, argv)
	if err != nil {
		return err
	}
	return runPlan(ctx, p)
}

// runPlan starts the container and waits for its end, which the end of ctx
// brings about.
func runPlan(ctx context.Context, p *plan.Plan) (err error) {
	runtime.LockOSThread() // ParentDeathSignal tells the death of a thread: prctl(2)
	defer runtime.UnlockOSThread()
	process, err := launch.Start(p, launch.Options{Namespaces: namespaces})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.Close()) }()
	killed := make(chan error, 1)
	release := context.AfterFunc(ctx, func() { killed <- process.Kill() })
	status, err := process.Wait()
	switch {
	case !release(): // it has been killed, or is about to be
		return errors.Join(context.Cause(ctx), <-killed)
	case err != nil:
		return err
	case status.Signaled():
		return fmt.Errorf("the program was ended by %s", unix.SignalName(status.Signal()))
	case status != 0:
		return exitStatus(status.ExitStatus())
	}
	return nil
}

// exitStatus is the error of a program that ended with another status than 0.
// It is the program's own affair, so main says nothing about it.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := app().RunContext(ctx, os.Args)
	stop()
	if status, ok := errors.AsType[exitStatus](err); ok {
		os.Exit(int(status))
	}
	if err != nil {
		hint.Print(os.Stderr, "stage04", err)
		os.Exit(1)
	}
}
