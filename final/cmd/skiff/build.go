package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/final/build"
	"skiff.example/final/container"
	"skiff.example/stage01-chroot/hint"
)

// skiff build: the words of the command line, as docker build has them, become
// build.Options.

func buildCommand() *cli.Command {
	return &cli.Command{
		Name: "build", Usage: "make an image from a Dockerfile",
		ArgsUsage: "CONTEXT",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "a `NAME` for the image; there may be several"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "the recipe; CONTEXT/Dockerfile otherwise"},
			&cli.StringFlag{Name: "target", Usage: "the `STAGE` to make; the last one otherwise"},
			&cli.StringSliceFlag{Name: "build-arg", Usage: "a value for ARG, `NAME=VALUE`; without a value, that of the environment"},
			&cli.StringFlag{Name: "network", Value: "bridge", Usage: "of RUN: bridge, none or host"},
			&cli.BoolFlag{Name: "no-cache", Usage: "do every step, whatever was done before"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "do not tell of the steps, nor what their commands print to standard output"},
		},
		UseShortOptionHandling: true,
		Action: func(c *cli.Context) error {
			if err := container.Protect(); err != nil {
				return err
			}
			o, err := buildOptions(c)
			if err != nil {
				return err
			}
			out, err := setAside(c.Bool("quiet"))
			if err != nil {
				return err
			}
			defer out.Close()
			img, err := build.Build(c.Context, engineOf(c), o)
			if err != nil {
				return fmt.Errorf("build: %w", err)
			}
			_, err = fmt.Fprintln(out, img.Digest)
			return err
		},
	}
}

// buildOptions reads the flags of build.
func buildOptions(c *cli.Context) (o build.Options, err error) {
	if c.NArg() != 1 {
		return o, hint.Add(errors.New("build: want one folder, the context"), "skiff build [--tag NAME] CONTEXT; flags come before it")
	}
	o = build.Options{
		Context: c.Args().First(), File: c.String("file"), Target: c.String("target"), Tags: c.StringSlice("tag"),
		Args: map[string]string{}, NoCache: c.Bool("no-cache"), Network: c.String("network"), Progress: os.Stderr,
	}
	if c.Bool("quiet") {
		o.Progress = io.Discard
	}
	for _, text := range c.StringSlice("build-arg") {
		name, value, given := strings.Cut(text, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue // as if it had not been named: docker-build(1)
			}
		}
		o.Args[name] = value
	}
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds < 0 {
			return o, fmt.Errorf("build: SOURCE_DATE_EPOCH=%s: want a number of seconds since 1970", text)
		}
		t := time.Unix(seconds, 0).UTC()
		o.Epoch = &t
	}
	return o, nil
}

// setAside returns standard output, for the digest alone: what the commands of the
// build print there goes to standard error, or nowhere. They have nothing to read.
func setAside(quiet bool) (out *os.File, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("set standard output aside: %w", err)
	}
	to := unix.Stderr
	if quiet {
		to = int(null.Fd())
	}
	err = errors.Join(unix.Dup3(to, unix.Stdout, 0), unix.Dup3(int(null.Fd()), unix.Stdin, 0))
	return os.NewFile(uintptr(fd), "standard output"), err
}
