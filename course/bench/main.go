// Command bench compares skiff-oci with the runtimes that docker and podman
// use, runc and crun: how long it takes to run a container, how much processor
// time and how much memory.
//
// All of them run the same bundle: the one that `runc spec` writes, unchanged
// but for its program, /bin/true, and the terminal, which nobody looks at. They
// run in turn, in an order that is drawn anew each round, so that whatever else
// the machine does meets all of them alike. What is compared is therefore the
// ratio of two medians; the milliseconds say more about the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"

	"skiff.example/stage01-chroot/hint"
)

// warmUp is how many rounds come before those that count: they fill the page
// cache.
const warmUp = 3

func main() {
	if err := run(os.Args[1:]); err != nil {
		hint.Print(os.Stderr, "bench", err)
		os.Exit(1)
	}
}

// run compares the runtimes or, as one of the processes that the comparison
// starts, measures a single run.
func run(args []string) error {
	if len(args) > 1 && args[0] == measureCommand {
		return measure(os.Stdout, args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	rounds := flags.Int("runs", 100, "how often each runtime runs the container")
	skiff := flags.String("skiff", "bin/skiff-oci", "the skiff-oci to measure")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// Ctrl-C ends the comparison after the run that is under way.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return compare(ctx, *skiff, *rounds)
}

// compare measures all runtimes in turn and prints the table.
func compare(ctx context.Context, skiff string, rounds int) error {
	if rounds < 1 {
		return fmt.Errorf("-runs %d: want at least 1", rounds)
	}
	runtimes, err := find(skiff)
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
	candidates := append([]candidate{nothing}, runtimes...)
	samples := make([][]sample, len(candidates))
	for round := range warmUp + rounds {
		for _, i := range rand.Perm(len(candidates)) {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			s, err := b.run(candidates[i])
			if err != nil {
				return err
			}
			if round >= warmUp {
				samples[i] = append(samples[i], s)
			}
		}
	}
	return writeTable(os.Stdout, candidates, samples)
}
