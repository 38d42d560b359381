package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What this process may do: capabilities(7), seccomp(2), prctl(2),
// getrlimit(2).

// capabilities prints the five sets as the kernel does, one bit a capability.
func capabilities(out io.Writer) error {
	return status(out, "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
}

func security(out io.Writer) error {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("prctl PR_GET_DUMPABLE: %w", err)
	}
	fmt.Fprintln(out, "dumpable", dumpable)
	return status(out, "NoNewPrivs", "Seccomp")
}

// status prints lines of /proc/self/status. Those that this program prints are
// of the process's first thread, which is the one that was started.
func status(out io.Writer, names ...string) error {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for _, name := range names {
		for _, line := range lines {
			if value, found := strings.CutPrefix(line, name+":"); found {
				fmt.Fprintln(out, name, strings.TrimSpace(value))
			}
		}
	}
	return nil
}

// resources are the limits of getrlimit(2) with the names of `ulimit`'s manual.
var resources = []struct {
	name   string
	number int
}{
	{"as", unix.RLIMIT_AS},
	{"core", unix.RLIMIT_CORE},
	{"cpu", unix.RLIMIT_CPU},
	{"data", unix.RLIMIT_DATA},
	{"fsize", unix.RLIMIT_FSIZE},
	{"memlock", unix.RLIMIT_MEMLOCK},
	{"nofile", unix.RLIMIT_NOFILE},
	{"nproc", unix.RLIMIT_NPROC},
	{"stack", unix.RLIMIT_STACK},
}

// rlimits prints soft and hard limits. Every Go program raises its own soft
// limit of open files to the hard one when it starts (since Go 1.19), so that
// one cannot be known from in here and is printed as "?".
func rlimits(out io.Writer) error {
	for _, resource := range resources {
		var limit unix.Rlimit
		if err := unix.Getrlimit(resource.number, &limit); err != nil {
			return fmt.Errorf("getrlimit %s: %w", resource.name, err)
		}
		soft := rlimit(limit.Cur)
		if resource.number == unix.RLIMIT_NOFILE {
			soft = "?"
		}
		fmt.Fprintln(out, "rlimit", resource.name, soft, rlimit(limit.Max))
	}
	return nil
}

func rlimit(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
