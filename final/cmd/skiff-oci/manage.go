package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// The commands that end a container, stop it for a while, or take it away: kill,
// pause, resume, delete.

func killCommand() *cli.Command {
	return &cli.Command{
		Name: "kill", Usage: "send a signal (SIGTERM) to a container's first process", ArgsUsage: "ID [SIGNAL]",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "to all of its processes"}},
		Action: func(c *cli.Context) error {
			if c.NArg() < 1 || c.NArg() > 2 {
				return errors.New("kill: want the id of a container, and perhaps a signal")
			}
			signal, err := parseSignal(c.Args().Get(1))
			if err != nil {
				return err
			}
			if c.Bool("all") {
				return runtimeOf(c).KillAll(c.Args().First(), signal)
			}
			return runtimeOf(c).Kill(c.Args().First(), signal)
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

func pauseCommand() *cli.Command {
	return onContainer("pause", "stop all processes of a container for a while",
		func(c *cli.Context, id string) error { return runtimeOf(c).Pause(id) })
}

func resumeCommand() *cli.Command {
	return onContainer("resume", "let the processes of a paused container go on",
		func(c *cli.Context, id string) error { return runtimeOf(c).Resume(id) })
}

func deleteCommand() *cli.Command {
	return onContainer("delete", "remove what a container left",
		func(c *cli.Context, id string) error { return runtimeOf(c).Delete(id, c.Bool("force")) },
		&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "end it first, if it runs; fine if there is none"})
}
