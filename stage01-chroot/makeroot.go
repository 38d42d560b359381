package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
)

// The command root: something to stand in, made in one of three ways. How each
// of them works is in package rootfs; ld.so(8), tar(5).

// rootWords are what is given to it.
const rootWords = "[--plan] DIR PROGRAM… (or --tar ARCHIVE DIR, --copy DIRECTORY DIR)"

// makeRoot makes a root file system in the directory that is the first word.
func makeRoot(c *cli.Context, words []string) error {
	dir, programs := words[0], words[1:]
	archive, source := c.String("tar"), c.String("copy")
	given := 0
	for _, is := range []bool{len(programs) > 0, archive != "", source != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1, c.Bool("plan") && len(programs) == 0:
		return hint.Add(errors.New("root: want programs, or an archive, or a directory to copy"),
			"usage: stage01 root "+rootWords)
	case archive != "":
		return unpack(dir, archive)
	case source != "":
		return copyTree(dir, source)
	}
	closure, err := rootfs.FromPrograms(programs...)
	if err != nil {
		return err
	}
	if c.Bool("plan") {
		return list(os.Stdout, closure)
	}
	return closure.Write(dir)
}

// list prints the files of a planned root file system.
func list(w io.Writer, closure *rootfs.Closure) error {
	for _, file := range closure.Files() {
		if _, err := fmt.Fprintln(w, file); err != nil {
			return err
		}
	}
	return nil
}

// unpack makes dir from an archive.
func unpack(dir, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return hint.Add(fmt.Errorf("open archive %q: %w", archive, reason(err)), "an archive is made by: tar -C DIRECTORY -cf ARCHIVE .")
	}
	defer file.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make root %q: %w", dir, reason(err))
	}
	if err := rootfs.FromTar(dir, file); err != nil {
		return fmt.Errorf("unpack %q: %w", archive, err)
	}
	return nil
}

// copyTree makes dir from another directory.
func copyTree(dir, source string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make root %q: %w", dir, reason(err))
	}
	return rootfs.FromDirectory(dir, source)
}
