package main

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/imagecmd"
)

// The commands about images: pull, and those of chapter 5.

var platformFlag = &cli.StringFlag{Name: "platform", Usage: "which of an image's platforms, OS/ARCH[/VARIANT]"}

func pullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "get an image from its registry", ArgsUsage: "IMAGE",
		Flags: []cli.Flag{platformFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return errors.New("pull: want one image")
			}
			platform, err := image.ParsePlatform(c.String("platform"))
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

// imageCommands are those of chapter 5. Its gc is here part of another one, which
// unmakes killed containers first: they use images.
func imageCommands() []*cli.Command {
	door := imagecmd.Door{
		Store: func(c *cli.Context) (*image.Store, error) { return engineOf(c).Images() },
		Users: func(c *cli.Context) (map[digest.Digest][]string, error) { return engineOf(c).Used() },
	}
	commands := door.Commands()
	for _, command := range commands {
		if command.Name == "gc" {
			images := command.Action
			command.Usage = "unmake what killed commands have left on the host, and remove what no image needs"
			command.Action = func(c *cli.Context) error { return errors.Join(engineOf(c).Collect(), images(c)) }
		}
	}
	return commands
}
