// Command final shows the whole of skiff at once: `make demo`.
//
// Six stages have each added one idea. Here they meet in one container: an
// image of three layers comes from a registry over HTTP (stage 5), its layers
// become one root file system (stage 4), a process is cloned into namespaces
// of its own (stage 2) by a list of system calls (stage 1), limits hold it
// (stage 3), and a bridge connects it (stage 6). What was a chapter each is
// now a package each; package engine calls them in the order in which a
// container needs them, and this program only talks about what they do.
//
// The demonstration needs no network and leaves the host's alone: it starts
// itself again in a new network namespace that plays the host, with another
// one beside it that plays the world outside. Everything else (the cgroups,
// the mounts, the processes) is made on this very machine, and gone at the end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage06-network/world"
)

func main() {
	app := &cli.App{
		Name:  "final",
		Usage: "show one container, from its image to its last address",
		Commands: []*cli.Command{{
			Name: "demo", Usage: "make an image, pull it, run it, and look at it from both sides",
			Flags: []cli.Flag{&cli.BoolFlag{Name: "inside", Hidden: true}},
			Action: func(c *cli.Context) error {
				if !c.Bool("inside") {
					return insideWorld()
				}
				return demo(os.Stdout)
			},
		}},
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {},
	}
	if err := app.Run(os.Args); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) { // that one has said why
			hint.Print(os.Stderr, "final", err)
		}
		os.Exit(1)
	}
}

// insideWorld runs the demonstration in a network namespace of its own.
func insideWorld() error {
	if os.Geteuid() != 0 {
		return hint.Add(fmt.Errorf("the demonstration makes containers, cgroups and networks"), "run it as root: sudo make demo")
	}
	runtime.LockOSThread() // the command is killed when this thread ends
	defer runtime.UnlockOSThread()
	// Ctrl-C reaches both processes. This one stays until the other has cleared
	// away, and passes on what was sent to it alone.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	inside := world.Command("demo", "--inside")
	if err := inside.Start(); err != nil {
		return fmt.Errorf("start in a new network namespace: %w", err)
	}
	release := context.AfterFunc(ctx, func() { _ = inside.Process.Signal(unix.SIGTERM) })
	defer release()
	return inside.Wait()
}
