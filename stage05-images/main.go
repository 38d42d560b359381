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
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/imagecmd"
	"skiff.example/stage05-images/registry"
)

func main() { os.Exit(command.Run(app(), os.Args)) }

// app is the command line.
func app() *cli.App {
	root := &cli.StringFlag{
		Name: "root", Value: "/var/lib/skiff-stage05", Usage: "keep images and containers in `DIR`",
	}
	door := imagecmd.Door{Store: openStore, Flags: []cli.Flag{root}}
	return &cli.App{
		Name:  "stage05",
		Usage: "pull an image, look at it, and run it",
		Commands: append(registry.Commands(openStore, root), append([]*cli.Command{
			command.New("run", "REF [COMMAND…]", "run an image", 1, run, root),
			command.New("plan", "[COMMAND…]", "print what run does, for an image of three layers", 0, printPlan),
			command.New("demo", "", "show it all, with a registry of our own on loopback", 0, demo),
		}, door.Commands()...)...),
	}
}

// openStore opens the folder of images below --root.
func openStore(c *cli.Context) (*image.Store, error) {
	return image.Open(filepath.Join(c.String("root"), "images"))
}
