package main

// The demonstration: a container that reaches nobody, then one with a network.
// The host in it is a network namespace, and the outside another one (package
// world), so that no link, rule or setting of the machine is touched.

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage06-network/network"
	"skiff.example/stage06-network/world"
)

// demo plays the demonstration in a new network namespace.
func demo(c *cli.Context, _ []string) error {
	if err := command.NeedRoot("the demonstration", "containers and networks"); err != nil {
		return err
	}
	for _, name := range []string{"bash", "cat", "ip", "ping", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			return hint.Add(err, "the demonstration needs the packages bash, iproute2, iputils-ping and nftables")
		}
	}
	runtime.LockOSThread() // the command is killed when this thread ends
	defer runtime.UnlockOSThread()
	inside := world.Command("demo-inside")
	inside.Stdout, inside.Stderr = c.App.Writer, c.App.ErrWriter
	if err := inside.Start(); err != nil {
		return fmt.Errorf("start in a new network namespace: %w", err)
	}
	// Ctrl-C reaches both; a signal to this process alone is passed on.
	release := context.AfterFunc(c.Context, func() { _ = inside.Process.Signal(syscall.SIGTERM) })
	defer release()
	err := inside.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return container.ExitStatus(exit.ExitCode()) // it has said why
	}
	return err
}

// show is what the parts of the demonstration share.
type show struct {
	*narrate.Demo
	ctx    context.Context
	world  *world.World
	dir    string         // holds the root folder and the state
	mirror netip.AddrPort // tells who asks under which address it sees them
}

// demoInside sets the stage, plays the parts, and clears away.
func demoInside(c *cli.Context, _ []string) (err error) {
	w, err := world.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	mirror, closer, err := w.Mirror()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	dir, err := os.MkdirTemp("", "stage06-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root, err := rootfs.FromPrograms("bash", "cat", "ip", "ping")
	if err != nil {
		return err
	}
	if err := root.Write(filepath.Join(dir, "ROOT")); err != nil {
		return err
	}
	s := &show{narrate.New(c.App.Writer), c.Context, w, dir, mirror}
	s.fail()
	s.connect()
	s.reach()
	s.hostSide()
	s.end()
	return s.Err()
}

// stage06 runs this program; what the audience sees leaves --state out.
func (s *show) stage06(args ...string) (shown string, cmd *exec.Cmd) {
	words := append([]string{}, args...)
	for i, word := range words {
		if strings.Contains(word, " ") {
			words[i] = "'" + word + "'"
		}
	}
	args = append([]string{"run", "--state", filepath.Join(s.dir, "state")}, args...)
	cmd = exec.CommandContext(s.ctx, "/proc/self/exe", args...)
	cmd.Dir = s.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it clears away what it has made
	return "stage06 run " + strings.Join(words, " "), cmd
}

// sh is a command line on the host.
func (s *show) sh(line string) (shown string, cmd *exec.Cmd) {
	return line, exec.CommandContext(s.ctx, "bash", "-c", line)
}

// fromOutside plays a part on the other host.
func (s *show) fromOutside(part func()) {
	s.Fail(s.world.Outside.Do(func() error { part(); return nil }))
}

// ping is a command line that says in words whether there was an answer.
func ping(to netip.Addr) string {
	return fmt.Sprintf("ping -c 1 -W 1 %s > /dev/null && echo it answers", to)
}

func (s *show) fail() {
	s.Part("See it fail: a network namespace as it is born")
	s.Say("The host has a cable to the outside, where %s is.", s.world.OutsideAddress)
	s.Run(s.sh(ping(s.world.OutsideAddress)))
	s.Say("A container in a new network namespace has lo, and no way out:")
	s.Run(s.stage06("--unconnected", "ROOT", "ip", "-brief", "link"))
	s.RunRefused(s.stage06("--unconnected", "ROOT", "ping", "-c", "1", "-W", "1", s.world.OutsideAddress.String()))
}

func (s *show) connect() {
	s.Part("A cable, an address, a route")
	s.Say("The same container; before its program begins, the host connects it:")
	s.Run(s.stage06("ROOT", "ip", "-brief", "address"))
	s.Run(s.stage06("ROOT", "ip", "route"))
	s.Run(s.stage06("ROOT", "bash", "-c", ping(s.gateway())))
}

// gateway is the host's address on the bridge, the first of the subnet.
func (s *show) gateway() netip.Addr {
	return netip.MustParsePrefix(network.DefaultSubnet).Addr().Next()
}

// first is the address of the first container.
func (s *show) first() netip.Addr { return s.gateway().Next() }

func (s *show) reach() {
	s.Part("The outside, and whom it sees")
	s.Run(s.stage06("ROOT", "bash", "-c", ping(s.world.OutsideAddress)))
	s.Say("A server out there answers with the address that it sees its caller under.")
	s.Say("It is not the container's, but the host's:")
	s.Run(s.stage06("ROOT", "bash", "-c", fmt.Sprintf("cat < /dev/tcp/%s/%d", s.mirror.Addr(), s.mirror.Port())))
}

// hostSide looks at the host while a container runs, and attacks that.
func (s *show) hostSide() {
	s.Part("Attack: reach into the container from outside")
	stop, err := s.background()
	s.Fail(err)
	if err != nil {
		return
	}
	s.Say("While a container runs, this is on the host: a switch, a cable, and rules.")
	s.Run(s.sh("ip -brief address"))
	s.Run(s.sh("nft list ruleset"))
	s.Say("A neighbour of the host is told that the containers are behind it:")
	s.fromOutside(func() {
		route := fmt.Sprintf("ip route add %s via %s", network.DefaultSubnet, s.world.HostAddress)
		s.Run("(outside) "+route, exec.CommandContext(s.ctx, "bash", "-c", route))
		line := ping(s.first())
		s.RunRefused("(outside) "+line, exec.CommandContext(s.ctx, "bash", "-c", line))
	})
	s.Say("The last rule has dropped that: nobody asked for the packet from inside.")
	s.Say("From the host, which the rule is not about, the container does answer:")
	s.Run(s.sh(ping(s.first())))
	s.Fail(stop())
}

// background starts a container that waits until stop is called. It returns
// when its program runs.
func (s *show) background() (stop func() error, err error) {
	_, cmd := s.stage06("ROOT", "bash", "-c", "echo ready; read")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() error {
		_, err := fmt.Fprintln(stdin)
		return errors.Join(err, cmd.Wait())
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the container: %w", err), stop())
	}
	return stop, nil
}

func (s *show) end() {
	s.Part("With the last container the network goes")
	s.Run(s.sh("ip -brief address"))
	s.Run(s.sh("nft list ruleset"))
	s.Run(s.sh("cat /proc/sys/net/ipv4/ip_forward"))
	leases := filepath.Join(s.dir, "state", "network")
	if _, err := os.Stat(leases); !errors.Is(err, os.ErrNotExist) {
		s.Fail(fmt.Errorf("the leases are still there: %w", errors.Join(err, os.ErrExist)))
	}
	s.Say("Switch, cable, rules and leases are gone, and forwarding is off, as it was.")
}
