// Command clocks prints the seconds of the monotonic and of the boot clock, as
// this process reads them: clock_gettime(2).
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	for _, clock := range []struct {
		name string
		id   int32
	}{{"monotonic", unix.CLOCK_MONOTONIC}, {"boottime", unix.CLOCK_BOOTTIME}} {
		var now unix.Timespec
		if err := unix.ClockGettime(clock.id, &now); err != nil {
			fmt.Fprintln(os.Stderr, "clocks:", err)
			os.Exit(1)
		}
		fmt.Println(clock.name, now.Sec)
	}
}
