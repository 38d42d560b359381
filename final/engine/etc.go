package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The files of /etc that belong to a container and not to its image: hosts(5),
// hostname(5), resolv.conf(5).

// writeEtc writes the files of /etc that belong to the container and not to
// its image: its name, and who is who. They are bind-mounted, so the image
// cannot lead the writes elsewhere.
func (r *run) writeEtc() error {
	resolv, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		resolv = nil // a host without one has no name servers to pass on
	}
	files := map[string]string{
		"hostname":    r.spec.Hostname + "\n",
		"hosts":       hostsText(r.spec.Hostname, netip.Addr{}),
		"resolv.conf": string(resolv),
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(r.folder, name)
		if err := os.WriteFile(file, []byte(files[name]), 0o644); err != nil {
			return fmt.Errorf("write the container's /etc/%s: %w", name, err)
		}
		r.spec.Mounts = append(r.spec.Mounts, specs.Mount{
			Destination: "/etc/" + name, Type: "bind", Source: file, Options: []string{"bind", "rprivate"},
		})
	}
	return nil
}

// writeHosts adds the container's address to its /etc/hosts, once it has one.
// The file is written in place: the container has it mounted already.
func (r *run) writeHosts(address netip.Addr) error {
	file := filepath.Join(r.folder, "hosts")
	if err := os.WriteFile(file, []byte(hostsText(r.spec.Hostname, address)), 0o644); err != nil {
		return fmt.Errorf("write the container's /etc/hosts: %w", err)
	}
	return nil
}

// hostsText is a hosts(5) file.
func hostsText(hostname string, address netip.Addr) string {
	text := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if address.IsValid() {
		text += fmt.Sprintf("%s\t%s\n", address, hostname)
	}
	return text
}
