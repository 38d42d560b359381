// How a container ends, and what its end means. The kernel ends a program that
// has no memory left with SIGKILL and without a word, and a fork(2) that goes
// beyond the limit with an errno that few programs name. The group has counted
// both: memory.events and pids.events, cgroups(7).

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage03-cgroups/cgroup"
)

// killAtTheEnd sees to it that the end of ctx ends the whole container, also one
// that is frozen: by version 1 of cgroups, a process in there cannot even be
// killed. One that may write to its groups freezes itself again, so this goes on
// until the function that it returns is called, which tells what went wrong.
func killAtTheEnd(ctx context.Context, group *cgroup.Manager) (over func() error) {
	const again = 20 * time.Millisecond
	own := *group // a Manager is one goroutine's
	ended, killed := make(chan struct{}), make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		for {
			err := own.Kill()
			select {
			case <-ended:
				killed <- err
				return
			case <-time.After(again):
			}
		}
	})
	return func() error {
		close(ended)
		if stop() {
			return nil
		}
		return <-killed
	}
}

// explain says on standard error what the kernel did to the container, and returns
// the error of a run whose program ended with status; or that failed with err, of
// which a limit may be the reason.
func explain(ctx context.Context, program string, status unix.WaitStatus, err error, group *cgroup.Manager) error {
	if ctx.Err() != nil {
		status = 0 // it was we who ended it
	}
	stats, unread := group.Stats()
	if gone(unread) { // somebody has removed the group
		stats, unread = &cgroup.Stats{}, nil
	}
	if unread != nil {
		hint.Print(os.Stderr, "stage03", unread)
		stats = &cgroup.Stats{}
	}
	told := verdict(program, status, stats)
	if err != nil && ctx.Err() == nil {
		return hint.Add(err, hint.Of(told))
	}
	if told != nil {
		hint.Print(os.Stderr, "stage03", told)
	}
	if err != nil {
		return err
	}
	return container.Failed(status)
}

// verdict is what there is to say of an end, or nil. Whom the kernel has killed,
// its counter does not say: it was the program itself for certain only where the
// container has never had another process.
func verdict(program string, status unix.WaitStatus, stats *cgroup.Stats) error {
	var memory cgroup.MemoryStats
	var pids cgroup.PidsStats
	if stats.Memory != nil {
		memory = *stats.Memory
	}
	if stats.Pids != nil {
		pids = *stats.Pids
	}
	var said, hints []string
	if status.Signaled() {
		said = append(said, fmt.Sprintf("%q was ended by %s", program, unix.SignalName(status.Signal())))
	}
	if kills := memory.OOMKill; kills > 0 {
		hints = append(hints, fmt.Sprintf("the limit was %s: see --memory", size(memory.Max)))
		if status.Signaled() && status.Signal() == unix.SIGKILL && pids.Peak == 1 {
			said = []string{fmt.Sprintf("%q ran out of memory, and the kernel killed it", program)}
		} else {
			said = append(said, fmt.Sprintf("the kernel has killed %s of the container for lack of memory", count(kills, "process", "processes")))
		}
	}
	if pids.Refused > 0 {
		hints = append(hints, fmt.Sprintf("the limit was %s: see --pids", number(pids.Max)))
		said = append(said, fmt.Sprintf("the kernel has refused the container %s", count(pids.Refused, "fork", "forks")))
	}
	if len(said) == 0 {
		return nil
	}
	return hint.Add(errors.New(strings.Join(said, "; ")), strings.Join(hints, "; "))
}

// count is a number of things.
func count(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
