package main

// The container of chapter 2, and the moment between its birth and its program
// in which the host connects it.

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"

	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage06-network/network"
)

// run runs a program in a container.
func run(c *cli.Context, words []string) (err error) {
	root, err := filepath.Abs(words[0])
	if err != nil {
		return err
	}
	box, err := box(root, words[1:])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Namespaces.Close()) }()
	var folder *state.Folder
	if !c.Bool("unconnected") {
		box.Prepare.Do = func(process *launch.Process) (err error) {
			folder, err = connect(c, process)
			return err
		}
	}
	defer func() { err = errors.Join(err, disconnect(folder)) }()
	status, err := box.Run(c.Context)
	if err != nil {
		return err
	}
	return container.Failed(status)
}

// box is the container of chapter 2.
func box(root string, argv []string) (*container.Container, error) {
	namespaces, err := container.Own()
	if err != nil {
		return nil, err
	}
	return &container.Container{
		Namespaces: namespaces, Root: root, Hostname: "stage06", Argv: argv, Env: container.Environment(),
		Prepare: container.Preparation{Chapter: 6, Title: "wait until the host has connected us"},
	}, nil
}

// connect gives a container that waits its network. What is made for it is in
// the journal of the folder.
func connect(c *cli.Context, process *launch.Process) (*state.Folder, error) {
	subnet, err := netip.ParsePrefix(c.String("subnet"))
	if err != nil {
		return nil, fmt.Errorf("--subnet: %w", err)
	}
	dir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return nil, err
	}
	n, err := network.Open(filepath.Join(dir, "network"), network.Config{Bridge: c.String("bridge"), Subnet: subnet})
	if err != nil {
		return nil, err
	}
	undoers := journal.Undoers{network.UndoKind: network.Undo}
	containers, id := filepath.Join(dir, "containers"), strconv.Itoa(os.Getpid())
	if err := state.Collect(containers, undoers, func(string, []journal.Entry) {}); err != nil {
		return nil, err
	}
	folder, err := state.Open(containers, id, undoers)
	if err != nil {
		return nil, err
	}
	if _, err := n.Attach(folder.Journal, id, fmt.Sprintf("/proc/%d/ns/net", process.Pid)); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return folder, nil
}

// disconnect undoes the journal, if there is one. So does the next run, if this
// one is killed.
func disconnect(folder *state.Folder) error {
	if folder == nil {
		return nil
	}
	return folder.Close()
}

// printPlan prints the plan of a container that waits to be connected. What the
// host does meanwhile is no part of it: that is network.Attach.
func printPlan(c *cli.Context, words []string) error {
	box, err := box(words[0], words[1:])
	if err != nil {
		return err
	}
	box.Prepare.Do = func(*launch.Process) error { return nil }
	p, err := box.Plan()
	if err != nil {
		return errors.Join(err, box.Namespaces.Close())
	}
	return errors.Join(p.Print(c.App.Writer), box.Namespaces.Close())
}
