package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The processes that this one can see, which are those of the pid namespace
// that /proc was mounted in: pid_namespaces(7).

func processes(out io.Writer) error {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return err
	}
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(pidOf(a), pidOf(b)) })
	for _, file := range files {
		comm, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		fmt.Fprintln(out, "process", pidOf(file), strings.TrimSpace(string(comm)))
	}
	return nil
}

// pidOf takes the number out of /proc/NUMBER/comm.
func pidOf(file string) int {
	pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
	if err != nil {
		return 0
	}
	return pid
}
