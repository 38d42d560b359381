// Command bench compares skiff-oci with the runtimes that docker and podman
// use, runc and crun: how long their commands take, how much processor time and
// how much memory. Then it compares pulls, see pull.go.
//
// All runtimes run the same bundle: the one that `runc spec` writes, unchanged
// but for its program and the terminal, which nobody looks at. They run in turn,
// in an order that is drawn anew each round, so that whatever else the machine
// does meets all of them alike. What is compared is therefore the ratio of two
// medians; the milliseconds say more about the machine. What none of them can be
// faster than is measured with them: the same system calls in C, see static.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"skiff.example/stage01-chroot/hint"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		hint.Print(os.Stderr, "bench", err)
		os.Exit(1)
	}
}

// run compares the runtimes or, as one of the processes that the comparison
// starts, unpacks what gzip has packed.
func run(args []string) error {
	if len(args) > 0 && args[0] == gunzipCommand {
		return gunzip(args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	rounds := flags.Int("runs", 100, "how often each runtime runs the container; what takes long is done less often")
	many := flags.Int("many", 1000, "among how many containers one is looked for")
	only := flags.String("only", "", "only the workloads with this in their title")
	skiffOCI := flags.String("skiff", "bin/skiff-oci", "the skiff-oci to measure")
	skiff := flags.String("pull", "bin/skiff", "the skiff whose pulls are compared; empty: none are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// Ctrl-C ends the comparison after the run that is under way.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *rounds < 1 || *many < 1 {
		return errors.New("-runs and -many: want at least 1")
	}
	runtimes, err := find(*skiffOCI)
	if err != nil {
		return err
	}
	if err := enterWorld(); err != nil {
		return err
	}
	b, err := newBundle(ctx, runtimes)
	if err != nil {
		return err
	}
	for _, w := range workloads(*rounds, *many) {
		if !strings.Contains(w.title, *only) {
			continue
		}
		if err := w.compare(ctx, b, runtimes); err != nil {
			return fmt.Errorf("%s: %w", w.title, err)
		}
	}
	if *skiff != "" && strings.Contains(pullTitle, *only) {
		return comparePulls(ctx, b, *skiff, max(1, *rounds/25))
	}
	return nil
}
