// Command vm runs tests of this tree in a virtual machine whose control groups
// are version 2 only (package skiff.example/course/vm). It is run in the root
// of the tree, by make test-v2; without a package it runs those that the list
// in course/vm/suite.go does not leave for a request.
//
//	go run ./course/cmd/vm
//	go run ./course/cmd/vm -v -run Freeze stage03-cgroups/cgroup
//	go run ./course/cmd/vm all
//
// Or it opens a shell there, with the programs of the stages in its PATH:
//
//	go run ./course/cmd/vm -shell
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"skiff.example/course/vm"
	"skiff.example/stage01-chroot/hint"
)

func main() {
	// Ctrl-C ends the machine, and what is on its way.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		hint.Print(os.Stderr, "vm", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o := vm.Options{Out: os.Stdout}
	flag.StringVar(&o.Root, "root", ".", "the root of the tree")
	flag.StringVar(&o.Run, "run", "", "only the tests that match, as for go test")
	flag.BoolVar(&o.Verbose, "v", false, "show all that the tests and the kernel say")
	flag.DurationVar(&o.Timeout, "timeout", 5*time.Minute, "how long the tests of one package may take")
	maybe := flag.Bool("maybe", false, "without QEMU say so and succeed, unless CI is true")
	shell := flag.Bool("shell", false, "no tests but a shell; exit or Ctrl-D turns the machine off")
	flag.Parse()
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	o.Cache = filepath.Join(cache, "skiff", "vm")
	if *shell {
		fmt.Fprintln(o.Out, "vm: a shell on a machine with cgroup v2 only; exit or Ctrl-D turns it off")
		return vm.Shell(ctx, o.Root, o.Cache, os.Stdin)
	}
	o.Packages = packages(flag.Args())
	err = vm.Test(ctx, o)
	if ci, _ := strconv.ParseBool(os.Getenv("CI")); *maybe && !ci && errors.Is(err, vm.ErrNoMachine) {
		fmt.Fprintln(o.Out, "vm: skipped, no tests with cgroup v2 only:", err)
		return nil
	}
	return err
}

// packages returns the packages in the folders, with what the list says of
// them; those of the suite without any.
func packages(dirs []string) []vm.Package {
	switch {
	case len(dirs) == 0:
		return vm.Suite()
	case len(dirs) == 1 && dirs[0] == "all":
		return vm.All()
	}
	var packages []vm.Package
	for _, dir := range dirs {
		packages = append(packages, vm.PackageIn(path.Clean(dir)))
	}
	return packages
}
