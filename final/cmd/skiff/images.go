package main

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

// The commands about images. Those about registries are package registry's.

var platformFlag = &cli.StringFlag{Name: "platform", Usage: "which of an image's platforms, OS/ARCH[/VARIANT]"}

// platformOf reads --platform; without it, the zero value means this machine's.
func platformOf(c *cli.Context) (ocispec.Platform, error) {
	return registry.ParsePlatform(c.String("platform"))
}

// openStore opens the store of images.
func openStore(c *cli.Context) (*image.Store, error) { return engineOf(c).Images() }

func imagesCommand() *cli.Command {
	return &cli.Command{
		Name: "images", Usage: "list images",
		Action: func(c *cli.Context) error {
			store, err := engineOf(c).Images()
			if err != nil {
				return err
			}
			entries, err := store.List()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "IMAGE\tDIGEST")
			for _, e := range entries {
				fmt.Fprintf(w, "%s\t%s\n", image.Familiar(e.Reference), image.Short(e.Digest))
			}
			return w.Flush()
		},
	}
}

func removeImageCommand() *cli.Command {
	return &cli.Command{
		Name: "rmi", Usage: "remove an image, and the layers that no other image needs", ArgsUsage: "IMAGE",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return errors.New("rmi: want one image")
			}
			return engineOf(c).RemoveImage(c.Args().First())
		},
	}
}
