// Stage05 pulls an image from a registry and runs it.
//
// Up to here a container's files came from this host. An image is how they
// travel: layers (tar archives), a configuration that says what to run, and a
// manifest that lists both. Every piece is named by the hash of its bytes. So
// who knows the name of the manifest knows every byte of the image, whatever
// server it came from; what is here already need not be fetched again; and
// two images with the same layer share it. A tag such as "latest" is the only
// name that may come to mean something else.
//
// The chapter's two ideas are two calls: registry.Pull brings an image into the
// store and unpacks its layers, and overlay.Prepare (chapter 4) stacks them
// under a writable one. The rest of run.go is the container of chapter 2.
//
// See the image-spec (manifest.md, config.md, layer.md) and the
// distribution-spec.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := app().RunContext(ctx, os.Args)
	stop()
	if status, ok := errors.AsType[exitStatus](err); ok {
		os.Exit(int(status))
	}
	if err != nil {
		hint.Print(os.Stderr, "stage05", err)
		os.Exit(1)
	}
}

// app is the command line.
func app() *cli.App {
	root := &cli.StringFlag{
		Name: "root", Value: "/var/lib/skiff-stage05", Usage: "keep images and containers in `DIR`",
	}
	return &cli.App{
		Name:           "stage05",
		Usage:          "pull an image and run it",
		HideVersion:    true,
		ExitErrHandler: func(*cli.Context, error) {}, // main alone exits
		Commands: []*cli.Command{
			{Name: "pull", Usage: "fetch an image and unpack it", ArgsUsage: "REF", Flags: []cli.Flag{root}, Action: pull},
			{Name: "images", Usage: "list the images of the store, with their layers", Flags: []cli.Flag{root}, Action: images},
			{Name: "run", Usage: "run an image", ArgsUsage: "REF [CMD…]", Flags: []cli.Flag{root}, Action: run},
			{Name: "plan", Usage: "print what run does, for an image of three layers", ArgsUsage: "[CMD…]", Action: printPlan},
			{Name: "demo", Usage: "show it all, with a registry of our own on loopback", Action: demo},
		},
	}
}

// openStore opens the folder of images below --root.
func openStore(c *cli.Context) (*image.Store, error) {
	return image.Open(filepath.Join(c.String("root"), "images"))
}

// pull fetches what the store lacks. Nothing is believed that does not hash to
// its name.
func pull(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("pull: want one image reference")
	}
	s, err := openStore(c)
	if err != nil {
		return err
	}
	img, err := registry.Pull(c.Context, s, c.Args().First(), registry.Options{Progress: c.App.ErrWriter})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, img.Digest)
	return nil
}

// images lists what is in the store: the name that may change, the name that
// cannot, and the unpacked layers, which images share.
func images(c *cli.Context) error {
	s, err := openStore(c)
	if err != nil {
		return err
	}
	entries, err := s.List()
	if err != nil {
		return err
	}
	for _, e := range entries {
		img, err := s.Find(e.Reference)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.App.Writer, image.Familiar(e.Reference), image.Short(e.Digest))
		for i := range img.Layers {
			dir := img.Layers[len(img.Layers)-1-i] // they are listed topmost first
			fmt.Fprintf(c.App.Writer, "  layer %d: layers/sha256/%.12s…\n", i+1, filepath.Base(dir))
		}
	}
	return nil
}
