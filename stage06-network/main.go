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
	"os"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage06-network/network"
)

func main() { os.Exit(command.Run(app(), os.Args)) }

// app is the command line.
func app() *cli.App {
	inside := command.New("demo-inside", "", "", 0, demoInside)
	inside.Hidden = true
	return &cli.App{
		Name:  "stage06",
		Usage: "run a program in a container with a network",
		Commands: []*cli.Command{
			command.New("run", "ROOT COMMAND [ARGUMENT…]", "run a program", 2, run,
				&cli.BoolFlag{Name: "unconnected", Usage: "leave the network namespace as it is born"},
				&cli.StringFlag{Name: "subnet", Value: network.DefaultSubnet, Usage: "take addresses from `SUBNET`"},
				&cli.StringFlag{Name: "bridge", Value: network.DefaultBridge, Usage: "the switch on the host is called `NAME`"},
				&cli.StringFlag{Name: "state", Value: "/run/skiff-stage06", Usage: "keep leases and journals in `DIR`"}),
			command.New("plan", "ROOT COMMAND [ARGUMENT…]", "print what the container does", 2, printPlan),
			command.New("demo", "", "show it all, between network namespaces of our own", 0, demo),
			inside,
		},
	}
}
