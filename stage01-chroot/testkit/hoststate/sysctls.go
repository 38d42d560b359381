package hoststate

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// The switches of the network stack that a container network may ask for and
// that outlive it: ip-sysctl.rst in the kernel's documentation. They belong to
// this network namespace. And the two names of the host, which a test that has
// lost its uts namespace would change: uts_namespaces(7).

// switches are the sysctls that are compared.
var switches = []string{
	"kernel.hostname",
	"kernel.domainname",
	"net.ipv4.ip_forward",
	"net.ipv4.conf.all.route_localnet",
	"net.ipv4.conf.all.rp_filter",
	"net.ipv4.conf.default.rp_filter",
	"net.ipv6.conf.all.forwarding",
	"net.ipv6.conf.all.disable_ipv6",
	"net.ipv6.conf.default.accept_ra",
	"net.bridge.bridge-nf-call-iptables",
}

// sysctls reads the switches; a kernel without IPv6 or bridges lacks some.
func sysctls() ([]Thing, error) {
	var things []Thing
	for _, name := range switches {
		value, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		things = append(things, Thing{Kind: "sysctl", Name: name, Value: strings.TrimSpace(string(value))})
	}
	return things, nil
}
