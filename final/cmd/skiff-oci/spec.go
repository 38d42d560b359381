package main

import (
	"fmt"
	"os"
	"path/filepath"

	"skiff.example/final/commandline"
	"skiff.example/final/oci"
)

// spec: a config.json to start from.

func specCommand() commandline.Command {
	return commandline.Command{
		Usage: "write a config.json to start from",
		Flags: []commandline.Flag{bundleFlag, {Name: "rootless", Usage: "one that an ordinary user can run"}},
		Action: func(c *commandline.Context) error {
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
