// Command attacker does from inside a container what a container must not be able to
// do, and prints the errno that it gets: tiocsti types into the terminal that it finds
// as standard input (ioctl_tty(2)).
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != "tiocsti" {
		fmt.Fprintln(os.Stderr, "attacker: want tiocsti")
		os.Exit(2)
	}
	for _, c := range "touch /owned\n" {
		if err := unix.IoctlSetPointerInt(0, unix.TIOCSTI, int(c)); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("typed")
}
