// Command lines says how many lines of our own source skiff-oci stands on,
// package by package (package skiff.example/course/lines). It is run in the
// root of the tree, by make lines.
//
//	go run ./course/cmd/lines
//	go run ./course/cmd/lines -unlinked     with the functions that the linker leaves out
//	go run ./course/cmd/lines final/cmd/skiff
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"

	"skiff.example/course/lines"
	"skiff.example/stage01-chroot/hint"
)

func main() {
	if err := run(); err != nil {
		hint.Print(os.Stderr, "lines", err)
		os.Exit(1)
	}
}

func run() error {
	unlinked := flag.Bool("unlinked", false, "list the functions that are imported but not linked")
	flag.Parse()
	packages, err := lines.Count(cmp.Or(flag.Arg(0), "final/cmd/skiff-oci"), "skiff.example")
	if err != nil {
		return err
	}
	slices.SortStableFunc(packages, func(a, b lines.Package) int { return cmp.Compare(b.Linked, a.Linked) })
	fmt.Println("linked  imported")
	var all lines.Package
	for _, p := range packages {
		fmt.Printf("%6d %9d  %s\n", p.Linked, p.Imported, p.Path)
		all.Linked += p.Linked
		all.Imported += p.Imported
		all.Generated += p.Generated
		if *unlinked {
			for _, name := range p.Unlinked {
				fmt.Println("                 ", name)
			}
		}
	}
	fmt.Printf("%6d %9d  and %d generated lines of tables\n", all.Linked, all.Imported, all.Generated)
	return nil
}
