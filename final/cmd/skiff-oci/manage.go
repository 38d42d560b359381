package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"skiff.example/final/commandline"
)

// The commands that end a container, stop it for a while, or take it away: kill,
// pause, resume, delete.

func killCommand() commandline.Command {
	return commandline.Command{
		Usage: "send a signal (SIGTERM) to a container's first process", Arguments: "ID [SIGNAL]",
		Flags: []commandline.Flag{{Name: "all", Short: "a", Usage: "to all of its processes"}},
		Action: func(c *commandline.Context) error {
			if len(c.Args) < 1 || len(c.Args) > 2 {
				return errors.New("kill: want the id of a container, and perhaps a signal")
			}
			signal, err := parseSignal(c.Arg(1))
			if err != nil {
				return err
			}
			if c.Bool("all") {
				return runtimeOf(c).KillAll(c.Arg(0), signal)
			}
			return runtimeOf(c).Kill(c.Arg(0), signal)
		},
	}
}

// parseSignal reads a signal as kill(1) takes it, a number or a name: 15, TERM,
// SIGTERM; none is SIGTERM. See signal(7).
func parseSignal(text string) (syscall.Signal, error) {
	if text == "" {
		return syscall.SIGTERM, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 64 { // 0 only looks whether the process is there: kill(2)
		return syscall.Signal(n), nil
	}
	if s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG")); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("kill: unknown signal %q", text)
}

func pauseCommand() commandline.Command {
	return onContainer("stop all processes of a container for a while",
		func(c *commandline.Context, id string) error { return runtimeOf(c).Pause(id) })
}

func resumeCommand() commandline.Command {
	return onContainer("let the processes of a paused container go on",
		func(c *commandline.Context, id string) error { return runtimeOf(c).Resume(id) })
}

func deleteCommand() commandline.Command {
	return onContainer("remove what a container left",
		func(c *commandline.Context, id string) error { return runtimeOf(c).Delete(id, c.Bool("force")) },
		[]commandline.Flag{{Name: "force", Short: "f", Usage: "end it first, if it runs; fine if there is none"}})
}
