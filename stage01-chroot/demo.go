package main

import (
	"context"
	"errors"
	"io"
	"runtime"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/narrate"
)

// The demonstration of chapter 1: what surrounds its parts, which are in
// parts.go. Its folder, mounts and processes are gone afterwards, also after
// Ctrl-C; what a kill -9 leaves, `stage01 clean` removes.

// stage is where the demonstration happens.
type stage struct{ *narrate.Stage }

// demo shows the chapter to w.
func demo(ctx context.Context, w io.Writer) (err error) {
	if err := command.NeedRoot("demo", "roots, mounts and devices"); err != nil {
		return err
	}
	if err := command.NeedPrograms("demo", "sh", "ls", "cat", "cp", "cut", "grep", "chroot", "hostname", "id", "mount", "ps", "sleep"); err != nil {
		return err
	}
	runtime.LockOSThread() // see KillWithUs
	defer runtime.UnlockOSThread()
	base, err := narrate.NewStage(ctx, w, "stage01")
	if err != nil {
		return err
	}
	base.KillWithUs()
	lock, err := lockFolder(base.Dir) // it is in use: clean leaves it alone
	if err != nil {
		return errors.Join(err, base.Close())
	}
	defer func() { err = errors.Join(err, removeFolder(io.Discard, base.Dir), lock.Close()) }()
	s := stage{base}
	for _, part := range []func(){
		s.noWalls, s.newRoot, s.plan, s.attack, s.kernelFiles, s.stillShared, s.breakOut, s.leak, s.why,
	} {
		part()
	}
	return s.Err()
}
