package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"skiff.example/stage05-images/image"
)

// The commands about images: pull, images, rmi.

var platformFlag = &cli.StringFlag{Name: "platform", Usage: "which of an image's platforms, OS/ARCH[/VARIANT]"}

// platformOf reads --platform; without it, the zero value means this machine's.
func platformOf(c *cli.Context) (p ocispec.Platform, err error) {
	text := c.String("platform")
	if text == "" {
		return p, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return p, fmt.Errorf("platform %q: want OS/ARCH[/VARIANT]", text)
	}
	p.OS, p.Architecture = parts[0], parts[1]
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

func pullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "get an image from its registry", ArgsUsage: "IMAGE",
		Flags: []cli.Flag{platformFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return errors.New("pull: want one image")
			}
			platform, err := platformOf(c)
			if err != nil {
				return err
			}
			img, err := engineOf(c).Pull(c.Context, c.Args().First(), platform)
			if err != nil {
				return err
			}
			fmt.Println(img.Digest)
			return nil
		},
	}
}

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
