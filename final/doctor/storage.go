package doctor

// This file checks what images and containers lie on: the overlay file system
// (the kernel's Documentation/filesystems/overlayfs.rst) and the disk.

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// leastFree is the space that a few images with their unpacked layers take.
const leastFree = 1 << 30

func storageChecks() []Check {
	return []Check{
		{"overlay", 4, lookAtOverlay},
		{"disk", 5, lookAtDisk},
	}
}

func lookAtOverlay(h Host) Result {
	outcome := h.Trials["overlay"]
	known := false
	for line := range strings.Lines(h.read("proc/filesystems")) {
		known = known || strings.TrimSpace(line) == "nodev\toverlay"
	}
	switch {
	case outcome == succeeded && h.root():
		return ok("a child mounted one beside %s", h.StateDir)
	case outcome == succeeded:
		return ok("a child mounted one in a user namespace")
	case !known:
		return missing("not in /proc/filesystems", "modprobe overlay")
	case !h.root():
		return skip("in the kernel; an ordinary user cannot mount it: " + outcome)
	}
	return missing(outcome, remedyFor(outcome,
		"an overlay cannot be written on every file system: put "+h.StateDir+" on ext4, xfs, btrfs or tmpfs"))
}

func lookAtDisk(h Host) Result {
	free := fmt.Sprintf("%.1f GiB free for %s", float64(h.Free)/(1<<30), h.StateDir)
	if h.Free < leastFree {
		return missing(free, "1 GiB is needed: make room, or put the state folder elsewhere")
	}
	return ok("%s (1 GiB or more)", free)
}

// tryOverlay mounts an overlay of folders that it makes where it stands, reads
// a file through it and makes a folder through it. The mount is never attached
// to a path (fsmount(2)): it is gone with its descriptor.
func tryOverlay() error {
	for _, dir := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile("lower/below", nil, 0o644); err != nil {
		return err
	}
	mount, err := mountOverlay()
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	if err := unix.Faccessat(mount, "below", unix.R_OK, 0); err != nil {
		return fmt.Errorf("read through the overlay: %w", err)
	}
	if err := unix.Mkdirat(mount, "above", 0o755); err != nil {
		return fmt.Errorf("write through the overlay: %w", err)
	}
	_, err = os.Stat("upper/above")
	return err
}

// mountOverlay returns the descriptor of a mounted overlay of the three
// folders.
func mountOverlay() (int, error) {
	context, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf(`fsopen "overlay": %w`, err)
	}
	defer unix.Close(context)
	for _, folder := range []string{"lower", "upper", "work"} {
		if err := unix.FsconfigSetString(context, folder+"dir", folder); err != nil {
			return -1, fmt.Errorf("set %sdir of the overlay: %w%s", folder, err, kernelSays(context))
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, fmt.Errorf("create the overlay: %w%s", err, kernelSays(context))
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("mount the overlay: %w%s", err, kernelSays(context))
	}
	return mount, nil
}

// kernelSays returns what the kernel has written to a file system context
// about the last failure: "e overlay: …" (fsopen(2)). Empty when it is silent.
func kernelSays(context int) string {
	text := make([]byte, 256)
	n, err := unix.Read(context, text)
	if err != nil {
		return "" // ENODATA: nothing was written
	}
	return " (" + strings.TrimSpace(string(text[:n])) + ")"
}
