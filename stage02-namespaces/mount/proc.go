package mount

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Places where not everything may be mounted: what the kernel shows of itself,
// proc(5) and sysfs(5), and /dev.

// overProc are the files below /proc that a mount may cover: what lxcfs
// replaces, so that a container sees its own limits.
var overProc = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/slabinfo", "/proc/stat",
	"/proc/swaps", "/proc/uptime",
}

// checkPlace refuses mounts at places where they would do harm, or nothing.
// place is where the links of the image lead, see view.resolve.
//
// The image may change between this look and the mount, if another container
// shares it. Then a mount may still reach /proc through a link. That harms the
// container alone that allowed it: it stays inside the root, and nothing that
// decides about security is written through the container's /proc: labels go
// through a proc file system that the container never sees (CVE-2025-52881).
func checkPlace(m specs.Mount, o Options, place string) error {
	dest := inRoot(m.Destination)
	// A /proc that leads elsewhere would be a lie to all who read it
	// (CVE-2019-16884, CVE-2023-27561); devices would be made wherever /dev
	// leads (CVE-2026-41579).
	if dest != place && (dest == "proc" || dest == "sys" || dest == "dev") {
		return hint.Add(fmt.Errorf("mount %q: %w", m.Destination, unix.ELOOP),
			fmt.Sprintf("the root file system has a symbolic link there, to %q", path.Join("/", place)))
	}
	if o.Remount {
		return nil
	}
	if place == "." {
		return fmt.Errorf("mount %q: the root itself is root.path of the configuration", m.Destination)
	}
	if err := checkProc(m, "/"+place); err != nil {
		return err
	}
	return checkProc(m, path.Join("/", dest))
}

// checkProc refuses mounts that would hide /proc, or parts of it that decide
// about security, behind the container's own files (CVE-2019-19921).
func checkProc(m specs.Mount, place string) error {
	if place != "/proc" && !strings.HasPrefix(place, "/proc/") || place == "/proc" && m.Type == "proc" ||
		slices.Contains(overProc, place) {
		return nil
	}
	through := ""
	if inRoot(m.Destination) != inRoot(place) {
		through = fmt.Sprintf(", which is %q in the root,", place)
	}
	return fmt.Errorf("mount %q%s: only a proc file system may be mounted on /proc, and nothing below it but %s",
		m.Destination, through, strings.Join(overProc, " "))
}

// resolveFor says how the place for a mount is looked up. A /proc that is a
// symbolic link would send writes meant for the kernel somewhere else
// (CVE-2019-16884, CVE-2023-27561): for proc and sysfs no symbolic link is
// followed.
func resolveFor(m specs.Mount) uint64 {
	if dest := inRoot(m.Destination); m.Type == "proc" || m.Type == "sysfs" || dest == "proc" || dest == "sys" {
		return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS
	}
	return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
}
