package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moby/sys/user"

	"skiff.example/final/commandline"
	"skiff.example/final/container"
	"skiff.example/stage01-chroot/hint"
)

// The commands that look at containers: state, list, ps.

// containerState is a container as state and list print it: the state of the
// runtime specification, and the fields that runc has beside it.
type containerState struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func stateOf(s *container.State, owner string) containerState {
	return containerState{s.Version, s.ID, s.Pid, string(s.Status), s.Bundle, s.Rootfs, s.Created, s.Annotations, owner}
}

func stateCommand() commandline.Command {
	return onContainer("print the state of a container", func(c *commandline.Context, id string) error {
		state, err := runtimeOf(c).State(id)
		if err != nil {
			return err
		}
		return printJSON(stateOf(state, ""))
	})
}

// printJSON prints v as people read it.
func printJSON(v any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// formatFlag chooses between the two formats of list and ps.
var formatFlag = commandline.Flag{Kind: commandline.String, Name: "format", Short: "f", Default: "table", Usage: "table or json"}

// wantsJSON reads it.
func wantsJSON(c *commandline.Context) (bool, error) {
	if format := c.String("format"); format != "table" && format != "json" {
		return false, fmt.Errorf("%s: --format %q: want table or json", c.Command, format)
	}
	return c.String("format") == "json", nil
}

func listCommand() commandline.Command {
	return commandline.Command{
		Usage: "list containers",
		Flags: []commandline.Flag{formatFlag, {Name: "quiet", Short: "q", Usage: "only their ids"}},
		Action: func(c *commandline.Context) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			if len(c.Args) > 0 {
				return fmt.Errorf("list: got %d arguments, want none", len(c.Args))
			}
			runtime.GOMAXPROCS(runtime.NumCPU()) // there may be thousands; see package shortlived
			states, err := runtimeOf(c).List()
			if printed := printList(states, asJSON, c.Bool("quiet")); err == nil {
				err = printed
			}
			return err
		},
	}
}

func printList(states []*container.State, asJSON, quiet bool) error {
	owners := map[uint32]string{}
	all := make([]containerState, 0, len(states))
	for _, s := range states {
		if _, known := owners[s.Owner]; !known {
			owners[s.Owner] = ownerName(s.Owner)
		}
		all = append(all, stateOf(s, owners[s.Owner]))
	}
	if asJSON && !quiet {
		return json.NewEncoder(os.Stdout).Encode(all)
	}
	out := bufio.NewWriter(os.Stdout) // tabwriter writes each cell, and each space between, by itself
	w := tabwriter.NewWriter(out, 12, 1, 3, ' ', 0)
	if !quiet {
		fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	}
	for _, s := range all {
		if quiet {
			fmt.Fprintln(w, s.ID)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return errors.Join(w.Flush(), out.Flush())
}

// ownerName is the name of a user of the host, or # and his number.
func ownerName(uid uint32) string {
	if u, err := user.LookupUid(int(uid)); err == nil {
		return u.Name
	}
	return fmt.Sprintf("#%d", uid)
}

func psCommand() commandline.Command {
	return commandline.Command{
		Usage: "list the processes of a container", Arguments: "ID [OPTION OF ps…]", Flags: []commandline.Flag{formatFlag},
		Action: func(c *commandline.Context) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			if len(c.Args) == 0 {
				return hint.Add(fmt.Errorf("ps: got no arguments, want the id of a container"), "skiff-oci ps --help")
			}
			pids, err := runtimeOf(c).Processes(c.Arg(0))
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(os.Stdout).Encode(append([]int{}, pids...))
			}
			return printProcesses(pids, c.Args[1:])
		},
	}
}

// printProcesses prints those lines of ps(1) that are about these processes.
func printProcesses(pids []int, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	ps := exec.Command("ps", options...)
	ps.Stderr = os.Stderr
	out, err := ps.Output()
	if err != nil {
		return fmt.Errorf("ps: run ps %s: %w", strings.Join(options, " "), err)
	}
	title, rest, _ := bytes.Cut(out, []byte("\n"))
	column := slices.Index(strings.Fields(string(title)), "PID")
	if column < 0 {
		return hint.Add(fmt.Errorf("ps: what ps %s prints has no column PID", strings.Join(options, " ")), "add pid to the columns: -o pid,comm")
	}
	fmt.Printf("%s\n", title)
	for line := range bytes.Lines(rest) {
		fields := strings.Fields(string(line))
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			os.Stdout.Write(line)
		}
	}
	return nil
}
