// Command mktables writes tables.go of package seccomp: the names and numbers
// of the system calls of each architecture (syscalls(2)), as the kernel's
// headers have them. They are taken from the files of golang.org/x/sys/unix
// that were generated from those headers: zsysnum_linux_*.go in the module's
// folder. Run it where go.mod names the version to take:
//
//	go run ./security/seccomp/mktables > security/seccomp/tables.go
package main

import (
	"fmt"
	"os"

	"skiff.example/final/security/seccomp/mktables/tables"
)

func main() {
	text, err := tables.Generate()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mktables:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}
