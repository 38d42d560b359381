package mount

import (
	"errors"
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
	if dest != place && (place == "dev" || place == "sys") {
		return fmt.Errorf("mount %q, which is %q in the root: to mount something there, say so", m.Destination, "/"+place)
	}
	if err := checkProc(m, o, "/"+place); err != nil {
		return err
	}
	return checkProc(m, o, path.Join("/", dest))
}

// checkProc refuses mounts that would hide /proc, or parts of it that decide
// about security, behind the container's own files (CVE-2019-19921).
func checkProc(m specs.Mount, o Options, place string) error {
	if place != "/proc" && !strings.HasPrefix(place, "/proc/") || place == "/proc" && isProc(m, o) ||
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

// isProc tells whether a mount shows a proc file system: a new one, or by a bind
// mount all of the host's. For a bind mount the type is a mere word.
func isProc(m specs.Mount, o Options) bool {
	if !o.Bind && m.Type != "bind" {
		return m.Type == "proc"
	}
	const rootOfProc = 1 // the inode number, PROC_ROOT_INO in the kernel
	var fs unix.Statfs_t
	var top unix.Stat_t
	err := errors.Join(unix.Statfs(m.Source, &fs), unix.Stat(m.Source, &top))
	return err == nil && fs.Type == unix.PROC_SUPER_MAGIC && top.Ino == rootOfProc
}

// isKernels tells whether a mount shows what the kernel says of itself, or stands
// where that is looked for. A /proc that is a symbolic link would send writes
// meant for the kernel somewhere else (CVE-2019-16884, CVE-2023-27561): on the
// way to these no symbolic link is followed.
func isKernels(m specs.Mount) bool {
	dest := inRoot(m.Destination)
	return m.Type == "proc" || m.Type == "sysfs" || dest == "proc" || dest == "sys"
}

// resolveFor says how the place for a mount is looked up: openat2(2).
//
// Where the parent cannot see the root, it cannot see either that a link of the
// image leads over /proc, /sys or /dev (CVE-2019-16884, CVE-2019-19921,
// CVE-2026-41579). So no link may lead into another mount (RESOLVE_NO_XDEV); and
// what is said to be in a mount of the plan is looked for without links.
func (r *Root) resolveFor(m specs.Mount, resolved string) uint64 {
	switch {
	case isKernels(m) || r.view.hidden && r.view.covered(resolved):
		return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS
	case r.view.hidden:
		return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
	}
	return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
}
