// Command report says in which state a program is that begins as skiff-oci does: the timer
// slack of its caller, of the main thread and of the others, in nanoseconds, and the limits
// of descriptors that it passes on.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"skiff.example/final/shortlived"
)

func main() {
	fmt.Println("caller", shortlived.TimerSlack())
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		fmt.Println(err)
	}
	for i, thread := range threads { // by number: the main one first
		slack, err := os.ReadFile(filepath.Join("/proc", thread.Name(), "timerslack_ns"))
		fmt.Print([]string{"main ", "other "}[min(i, 1)], string(slack))
		if err != nil {
			fmt.Println(err)
		}
	}
	limits, err := exec.Command("sh", "-c", "echo files $(ulimit -Sn) $(ulimit -Hn)").Output()
	fmt.Print(string(limits))
	if err != nil {
		fmt.Println(err)
	}
}
