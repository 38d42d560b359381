// Command looks draws a process: looks PID.
package main

import (
	"errors"
	"fmt"
	"os"

	"skiff.example/stage02-namespaces/look"
)

func main() {
	pid, err := look.ParsePid(os.Args[1])
	if err == nil {
		err = errors.Join(look.Table(os.Stdout, pid), look.Tree(os.Stdout, pid))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
