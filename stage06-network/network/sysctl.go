// Settings of the network stack are files below /proc/sys/net (man 5 proc,
// the kernel's Documentation/networking/ip-sysctl.rst). Each network namespace
// has its own; which one a file shows is decided by the thread that opens it,
// so a visit to the container's namespace is enough, and nothing is mounted.

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const ipForward = "ipv4/ip_forward"

// getSysctl reads the setting name, a path below /proc/sys/net.
func getSysctl(name string) (string, error) {
	data, err := os.ReadFile("/proc/sys/net/" + name)
	if err != nil {
		return "", fmt.Errorf("read setting: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// setSysctl writes the setting name unless it has the value already: where it
// has, a read-only /proc/sys is no obstacle.
func setSysctl(name, value string) error {
	if now, err := getSysctl(name); err != nil || now == value {
		return err
	}
	// Not O_CREATE: a missing setting must stay an ENOENT.
	f, err := os.OpenFile("/proc/sys/net/"+name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("set to %s: %w", value, err)
	}
	return nil
}

// quiet6 switches IPv6 off on a link, before the link is up. First and
// separately it refuses router advertisements: by them any container on the
// bridge that may send raw packets could make itself the default gateway of
// the host and of its neighbours (CVE-2020-10749), and this must stay so when
// somebody switches IPv6 on again. lo keeps IPv6: ::1 works in a container.
func quiet6(link string) error {
	for _, setting := range [][2]string{{"accept_ra", "0"}, {"disable_ipv6", "1"}} {
		err := setSysctl("ipv6/conf/"+link+"/"+setting[0], setting[1])
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("switch IPv6 off on %q: %w", link, err)
		}
	}
	return nil
}

// saveBeforeForwarding writes the state down, with the value that ip_forward
// has, if enableForwarding is going to change it. The first value counts: it
// is the one from before our first container.
func (s *state) saveBeforeForwarding(dir string) error {
	now, err := getSysctl(ipForward)
	if err != nil {
		return err
	}
	if now != "1" && s.IPForward == "" {
		s.IPForward = now
	}
	return s.save(dir)
}

// enableForwarding lets the host pass packets on from one link to another. The
// kernel sets conf/*/forwarding of every link along with it.
func enableForwarding() error { return setSysctl(ipForward, "1") }

// restoreForwarding sets ip_forward to what it was; empty: it was on, by
// someone else, and stays on.
func restoreForwarding(before string) error {
	if before == "" {
		return nil
	}
	return setSysctl(ipForward, before)
}
