package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/look"
	"skiff.example/stage02-namespaces/namespace"
)

// One kind at a time: a program of the host in new namespaces, or in those of
// another process, as unshare(1) and nsenter(1) do it; and namespaces that are
// kept without a process.

// newCommand runs a command in new namespaces, and in the host's files.
func newCommand(c *cli.Context, words []string) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	for kind := range strings.SplitSeq(words[0], ",") {
		k, err := kindOf(kind)
		if err != nil {
			return err
		}
		if k.Type != specs.TimeNamespace || !o.has(specs.TimeNamespace) { // --clock has asked for it
			o.namespaces = append(o.namespaces, specs.LinuxNamespace{Type: k.Type})
		}
	}
	namespaces, err := namespace.NewSet(o.namespaces)
	if err != nil {
		return err
	}
	alone := hostProgram(namespaces, o, words[1:])
	if err := withMaps(alone, o); err != nil {
		return err
	}
	return runOrPrint(c.Context, o, alone)
}

// hostProgram is a program of the host, with the caller's environment.
func hostProgram(namespaces *namespace.Set, o options, argv []string) *container.Container {
	return &container.Container{Namespaces: namespaces, Argv: argv, Env: os.Environ(), Explain: o.explain}
}

// joinCommand runs a command in the namespaces of a process, given by its pid,
// or in those that keep has kept in a folder.
func joinCommand(c *cli.Context, words []string) (err error) {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	wanted, err := kindsOf(c.String("kinds"))
	if err != nil {
		return err
	}
	if _, err := strconv.Atoi(words[0]); err != nil { // no number: a folder
		namespaces, err := setOfFolder(words[0], wanted)
		if err != nil {
			return err
		}
		return runOrPrint(c.Context, o, hostProgram(namespaces, o, words[1:]))
	}
	pid, err := look.ParsePid(words[0])
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return hint.Add(fmt.Errorf("join the namespaces of process %d: %w", pid, err), "it has ended; ps -e lists those that are there")
	}
	pidfd := os.NewFile(uintptr(fd), fmt.Sprint("process ", pid))
	defer pidfd.Close()
	namespaces, err := setOfProcess(pidfd, wanted)
	if err != nil {
		return err
	}
	return runOrPrint(c.Context, o, hostProgram(namespaces, o, words[1:]))
}

// kindsOf reads "mnt,pid"; "" is all kinds.
func kindsOf(list string) (kinds []namespace.Kind, err error) {
	if list == "" {
		return namespace.Kinds, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		k, err := kindOf(name)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

// setOfProcess joins those of the wanted namespaces of a process that are not
// ours, with one setns(2): a pidfd stands for all of them.
func setOfProcess(pidfd *os.File, wanted []namespace.Kind) (*namespace.Set, error) {
	set, err := namespace.NewSet(nil)
	if err != nil {
		return nil, err
	}
	flags := 0
	for _, k := range wanted {
		flags |= k.Flag
	}
	if err := set.JoinProcess(pidfd, flags); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return set, nil
}

// setOfFolder joins the wanted namespaces that are kept in a folder.
func setOfFolder(dir string, wanted []namespace.Kind) (*namespace.Set, error) {
	var list []specs.LinuxNamespace
	for _, k := range wanted {
		path := filepath.Join(dir, k.File)
		if _, err := os.Stat(path); err == nil {
			list = append(list, specs.LinuxNamespace{Type: k.Type, Path: path})
		}
	}
	if len(list) == 0 {
		return nil, hint.Add(fmt.Errorf("join: %q is neither a process id nor a folder with kept namespaces", dir),
			"keep some: stage02 keep PID DIR KIND…")
	}
	return namespace.NewSet(list)
}

// keepCommand gives namespaces of a process a second reference, a file, so that
// they outlive the process. When it fails, what it has made is gone again, and
// nothing else.
func keepCommand(_ *cli.Context, words []string) error {
	pid, err := look.ParsePid(words[0])
	if err != nil {
		return err
	}
	kinds, err := kindsOf(strings.Join(words[2:], ","))
	if err != nil {
		return err
	}
	dir := words[1]
	made := os.Mkdir(dir, 0o700)
	if made != nil && !errors.Is(made, os.ErrExist) {
		return fmt.Errorf("keep: %w", made)
	}
	var kept []string
	for _, k := range kinds {
		path := filepath.Join(dir, k.File)
		if err := namespace.Keep(pid, k, path); err != nil {
			for _, path := range kept {
				err = errors.Join(err, namespace.Forget(path))
			}
			if made == nil {
				err = errors.Join(err, os.Remove(dir))
			}
			return err
		}
		kept = append(kept, path)
	}
	return nil
}

func forgetCommand(_ *cli.Context, words []string) error { return forget(words[0]) }

// forget lets go of all namespaces that are kept in a folder, and removes it.
func forget(dir string) error {
	for _, k := range namespace.Kinds {
		path := filepath.Join(dir, k.File)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := namespace.Forget(path); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget what is kept in %q: %w", dir, errors.Unwrap(err))
	}
	return nil
}
