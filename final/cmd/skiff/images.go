package main

import (
	"errors"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"skiff.example/final/build"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/imagecmd"
)

// The commands about images are those of chapter 5.

var platformFlag = &cli.StringFlag{Name: "platform", Usage: "which of an image's platforms, OS/ARCH[/VARIANT]"}

// openStore opens the store of images.
func openStore(c *cli.Context) (*image.Store, error) { return engineOf(c).Images() }

// forgetSteps removes the names of what the steps of builds have made.
func forgetSteps(c *cli.Context) error {
	store, err := openStore(c)
	if err != nil {
		return err
	}
	return build.Forget(c.Context, store)
}

// imageCommands are those of chapter 5. Its gc is here part of another one, which
// unmakes killed containers first: they use images.
func imageCommands() []*cli.Command {
	door := imagecmd.Door{
		Store:  openStore,
		Users:  func(c *cli.Context) (map[digest.Digest][]string, error) { return engineOf(c).Used() },
		Hidden: build.IsStep,
	}
	commands := door.Commands()
	for _, command := range commands {
		if command.Name == "gc" {
			images := command.Action
			command.Usage = "unmake what killed commands have left on the host, and remove what no image needs"
			command.Flags = append(command.Flags, &cli.BoolFlag{Name: "build-cache", Usage: "forget the steps of builds, too"})
			command.Action = func(c *cli.Context) error {
				err := engineOf(c).Collect()
				if c.Bool("build-cache") {
					err = errors.Join(err, forgetSteps(c))
				}
				return errors.Join(err, images(c))
			}
		}
	}
	return commands
}
