package main

import (
	"fmt"
	"io"
	"os"
)

// What this process was started with: execve(2). Both are quoted, so that a
// newline in one does not look like another fact.

func environment(out io.Writer) error {
	for _, variable := range os.Environ() {
		fmt.Fprintf(out, "environment %q\n", variable)
	}
	return nil
}

func arguments(out io.Writer) error {
	for i, argument := range os.Args {
		fmt.Fprintf(out, "argument %d %q\n", i, argument)
	}
	return nil
}
