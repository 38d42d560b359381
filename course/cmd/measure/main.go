// Command measure is the small process in which bench measures commands, see package
// taken. Its argument is a task, as JSON; it prints the sample.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"skiff.example/course/bench/taken"
)

func main() {
	var t taken.Task
	if err := json.Unmarshal([]byte(os.Args[len(os.Args)-1]), &t); err != nil {
		fail(err)
	}
	if err := taken.Measure(os.Stdout, t); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "measure:", err)
	os.Exit(1)
}
