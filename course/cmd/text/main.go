// Command text checks the course's text against the code that it shows, and
// with -update rewrites it (package skiff.example/course/text). It is run in
// the root of the tree and looks at every Markdown file, or at those named.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"skiff.example/course/report"
	"skiff.example/course/text"
)

func main() {
	root := flag.String("root", ".", "the root of the tree")
	update := flag.Bool("update", false, "rewrite the blocks that are stale")
	flag.Parse()
	if err := run(os.Stdout, *root, *update, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "text:", err)
		os.Exit(1)
	}
}

// run updates the pages if asked to, then checks them; what is still wrong is
// an error.
func run(w io.Writer, root string, update bool, pages []string) (err error) {
	if len(pages) == 0 {
		if pages, err = text.Pages(root); err != nil {
			return err
		}
	}
	if update {
		rewritten, err := text.Update(root, pages...)
		list(w, "rewritten: ", rewritten)
		if err != nil {
			return err
		}
	}
	problems, err := text.Check(root, pages...)
	if err != nil {
		return err
	}
	list(w, "", problems)
	if n := len(problems); n > 0 {
		return fmt.Errorf("%d places where the text is wrong", n)
	}
	return nil
}

// list prints the problems, each after a prefix to what it says.
func list(w io.Writer, prefix string, problems []report.Problem) {
	for _, p := range problems {
		p.What = prefix + p.What
		fmt.Fprintln(w, p)
	}
}
