// Stage06 gives a container a network.
//
// A new network namespace has one link, lo, and nothing leads out of it. To
// connect it the host lays a virtual cable (veth): one end goes into the
// namespace and becomes eth0, the other one into a switch (bridge) on the host.
// The container gets an address on that switch, and a default route to the host,
// which forwards its packets. The world does not know the address, so on the way
// out the host puts its own in its place (NAT), and remembers whom the answers
// are for.
//
// Only the host can do that, and only when the namespace is there; and the
// program must not start before. So the container is born, waits at a gate
// (chapter 2), network.Attach does its work, and the gate opens: see run.go.
//
// All of it outlives the container's process, unlike namespaces and mounts. It
// is in a journal (chapter 3) before it is made, and undone with it.
//
// See veth(4), bridge(8), network_namespaces(7), nft(8).
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage06-network/network"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := app().RunContext(ctx, os.Args)
	stop()
	if status, ok := errors.AsType[exitStatus](err); ok {
		os.Exit(int(status))
	}
	if err != nil {
		hint.Print(os.Stderr, "stage06", err)
		os.Exit(1)
	}
}

// app is the command line.
func app() *cli.App {
	return &cli.App{
		Name:           "stage06",
		Usage:          "run a program in a container with a network",
		HideVersion:    true,
		ExitErrHandler: func(*cli.Context, error) {}, // main alone exits
		Commands: []*cli.Command{
			{
				Name: "run", Usage: "run a program", ArgsUsage: "ROOT CMD…", Action: run,
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "unconnected", Usage: "leave the network namespace as it is born"},
					&cli.StringFlag{Name: "subnet", Value: network.DefaultSubnet, Usage: "take addresses from `SUBNET`"},
					&cli.StringFlag{Name: "bridge", Value: network.DefaultBridge, Usage: "the switch on the host is called `NAME`"},
					&cli.StringFlag{Name: "state", Value: "/run/skiff-stage06", Usage: "keep leases and journals in `DIR`"},
				},
			},
			{Name: "plan", Usage: "print what the container does", ArgsUsage: "ROOT CMD…", Action: printPlan},
			{Name: "demo", Usage: "show it all, between network namespaces of our own", Action: demo},
			{Name: "demo-inside", Hidden: true, Action: demoInside},
		},
	}
}
