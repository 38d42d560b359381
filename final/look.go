package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"skiff.example/final/container"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage06-network/network"
)

// Looking at one container from both sides: what a script in it prints, and what
// the host finds below /proc, in its cgroup and on its bridge.

// script is what runs in the container: it prints what it sees, a line each,
// and then waits until its standard input ends, so that the host can look at
// it meanwhile. It uses only programs that are in the image.
const script = `
say() { echo "$1|$2"; }
say hostname    "$(hostname)"
say pid         "$$"
say processes   "$(ls -d /proc/[0-9]* | wc -l)"
say user        "$(id -un) ($(id -u))"
say root        "$(echo $(ls /))"
say motd        "$(cat /etc/motd)"
say secret      "$(cat /etc/secret-note 2>&1 | head -c 60)"
say mounts      "$(wc -l < /proc/self/mounts)"
say memory      "$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null)"
say pids        "$(cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null)"
say cpu         "$(cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null)"
say cgroup      "$(head -n 1 /proc/self/cgroup)"
say address     "$(ip -o -4 addr show dev eth0 | { read _ _ _ a _; echo $a; })"
say ping        "$(ping -c 1 -W 2 $OUTSIDE >/dev/null 2>&1 && echo answered || echo silent)"
say mirror      "$(bash -c 'exec 3<>/dev/tcp/'$MIRROR'; cat <&3' 2>&1)"
for kind in pid mnt uts ipc net cgroup; do
  say "$kind namespace" "$(ls -l /proc/self/ns/$kind | { read _ _ _ _ _ _ _ _ _ _ ns; echo $ns; })"
done
say end ''
cat >/dev/null
`

// look runs the container and prints, side by side, what it sees and what the
// host sees of it.
func (s *stage) look() {
	s.Part("Run it, and look at it from both sides")
	if s.Err() != nil {
		return
	}
	mirror, stop, err := s.world.Mirror()
	if err != nil {
		s.Fail(err)
		return
	}
	defer stop.Close()
	cmd := s.skiff("run", "--name", "demo", "--memory", "64m", "--cpus", "0.5", "--pids-limit", "100",
		"-e", "OUTSIDE="+s.world.OutsideAddress.String(),
		"-e", "MIRROR="+strings.Replace(mirror.String(), ":", "/", 1), s.reference, "sh", "-c", script)
	in, err := cmd.StdinPipe()
	s.Fail(err)
	out, err := cmd.StdoutPipe()
	s.Fail(err)
	cmd.Stderr = os.Stderr
	s.Say("$ skiff run --memory 64m --cpus 0.5 --pids-limit 100 IMAGE sh -c '…'")
	s.Fail(cmd.Start())
	if s.Err() != nil {
		return
	}
	inside := readReport(out)
	s.compare(inside)
	s.Fail(in.Close())
	s.Fail(cmd.Wait())
}

// readReport reads the script's lines, up to its last.
func readReport(r io.Reader) map[string]string {
	seen := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "|")
		if name == "end" {
			break
		}
		seen[name] = value
	}
	return seen
}

// compare prints the table.
func (s *stage) compare(inside map[string]string) {
	runtime := container.Runtime{Root: filepath.Join(s.folder, "state", "containers")}
	state, err := runtime.State("demo")
	if err != nil {
		s.Fail(fmt.Errorf("the container has said %v and is gone: %w", inside, err))
		return
	}
	host, err := hostView(state.Pid)
	s.Fail(err)
	if host == nil {
		return
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tINSIDE\tHOST")
	for _, name := range []string{
		"hostname", "pid", "processes", "user", "root", "motd", "secret", "mounts", "memory", "pids", "cpu", "cgroup", "address",
		"pid namespace", "mnt namespace", "uts namespace", "ipc namespace", "net namespace", "cgroup namespace",
	} {
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, shorten(inside[name]), shorten(host[name]))
	}
	s.Fail(w.Flush())
	s.Show(b.String())
	s.Say("The outside, %s, answers a ping from the container: %s.", s.world.OutsideAddress, inside["ping"])
	s.Say("The container's address is %s; the outside is called by %s: that is NAT.", inside["address"], inside["mirror"])
	s.Fail(judge(inside, host, s.world.HostAddress.String()))
}

// judge makes a demonstration that shows the wrong thing fail.
func judge(inside, host map[string]string, hostAddress string) error {
	for _, kind := range []string{"pid", "mnt", "uts", "ipc", "net", "cgroup"} {
		if name := kind + " namespace"; inside[name] == "" || inside[name] == host[name] {
			return fmt.Errorf("the container shares the host's %s (%q)", name, inside[name])
		}
	}
	for name, want := range map[string]string{
		"pid": "1", "hostname": "demo", "memory": "67108864", "pids": "100", "ping": "answered", "mirror": hostAddress,
	} {
		if inside[name] != want {
			return fmt.Errorf("inside the container %s is %q, want %q", name, inside[name], want)
		}
	}
	if !strings.Contains(inside["motd"], "layer 3") || !strings.Contains(inside["secret"], "No such file") {
		return fmt.Errorf("layer 3 does not cover layer 1: motd %q, secret %q", inside["motd"], inside["secret"])
	}
	return nil
}

// shorten keeps a table narrow.
func shorten(s string) string {
	if r := []rune(s); len(r) > 44 {
		return string(r[:43]) + "…"
	}
	return s
}

// hostView is what the host sees of the same things. The process is pid.
func hostView(pid int) (map[string]string, error) {
	view := map[string]string{"pid": fmt.Sprint(pid)}
	var err error
	if view["hostname"], err = os.Hostname(); err != nil {
		return nil, err
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	view["processes"] = fmt.Sprint(len(processes))
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	view["mounts"] = fmt.Sprint(strings.Count(string(mounts), "\n"))
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	view["cgroup"], _, _ = strings.Cut(string(group), "\n")
	for _, kind := range []string{"pid", "mnt", "uts", "ipc", "net", "cgroup"} {
		if view[kind+" namespace"], err = os.Readlink("/proc/self/ns/" + kind); err != nil {
			return nil, err
		}
	}
	bridge, err := net.InterfaceByName(network.DefaultBridge)
	if err != nil {
		return nil, err
	}
	addresses, err := bridge.Addrs()
	if err != nil {
		return nil, err
	}
	view["address"] = fmt.Sprintf("%v, on bridge %s", addresses, bridge.Name)
	return view, limits(view)
}

// limits reads the container's limits where the host has set them.
func limits(view map[string]string) error {
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return err
	}
	group, err := hierarchies.New("/skiff-demo")
	if err != nil {
		return err
	}
	stats, err := group.Stats()
	if err != nil {
		return err
	}
	if stats.Memory == nil || stats.Pids == nil {
		return errors.New("the machine has no memory or no pids controller")
	}
	view["memory"] = fmt.Sprintf("%d, of it in use %d", stats.Memory.Max, stats.Memory.Current)
	view["pids"] = fmt.Sprintf("%d, of it in use %d", stats.Pids.Max, stats.Pids.Current)
	return nil
}
