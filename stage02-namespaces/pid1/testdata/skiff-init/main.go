// Command skiff-init is an init, whatever the name that it is called by.
package main

import (
	"os"

	"skiff.example/stage02-namespaces/pid1"
)

func main() { os.Exit(pid1.Main()) }
