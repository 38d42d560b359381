package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"skiff.example/final/oci"
)

// spec: a config.json to start from.

func specCommand() *cli.Command {
	return &cli.Command{
		Name: "spec", Usage: "write a config.json to start from",
		Flags: []cli.Flag{bundleFlag, &cli.BoolFlag{Name: "rootless", Usage: "one that an ordinary user can run"}},
		Action: func(c *cli.Context) error {
			spec := oci.Default()
			spec.Linux.MaskedPaths = append(spec.Linux.MaskedPaths, oci.Thermal("/sys")...)
			if c.Bool("rootless") {
				oci.Rootless(spec, os.Geteuid(), os.Getegid())
			}
			file := filepath.Join(c.String("bundle"), "config.json")
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return fmt.Errorf("write a config.json: %w", err)
			}
			defer f.Close()
			return oci.WriteSpec(f, spec)
		},
	}
}
