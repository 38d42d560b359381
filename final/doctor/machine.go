package doctor

// This file checks the machine itself: processor, kernel (uname(2)), user.

import (
	"fmt"
	"strconv"
	"strings"
)

// The oldest kernel that skiff runs on. openat2(2) is of 5.6, close_range(2) of
// 5.9, mount_setattr(2) of 5.12; 5.14 brought cgroup.kill, and it is the kernel
// of the oldest distribution in wide use that has them all (RHEL 9).
const oldestMajor, oldestMinor = 5, 14

func machineChecks() []Check {
	return []Check{
		{"machine", 1, lookAtArch},
		{"kernel", 1, lookAtKernel},
		{"root", 1, lookAtUser},
	}
}

// lookAtArch knows the machines for which the system calls' numbers are there.
func lookAtArch(h Host) Result {
	switch h.Arch {
	case "amd64", "arm64":
		return ok("linux/%s", h.Arch)
	}
	return missing("linux/"+h.Arch, "skiff knows the system calls of amd64 and arm64")
}

func lookAtKernel(h Host) Result {
	release := h.read("proc/sys/kernel/osrelease")
	wanted := fmt.Sprintf("%d.%d or newer", oldestMajor, oldestMinor)
	major, minor, err := parseRelease(release)
	if err != nil {
		return missing(err.Error(), "is /proc mounted?")
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return missing(fmt.Sprintf("%s, not %s", release, wanted),
			"Debian 12, Ubuntu 22.04 and later have it; on Debian 11: apt install -t bullseye-backports linux-image-"+h.Arch)
	}
	return ok("%s (%s)", release, wanted)
}

// parseRelease reads the first two numbers of what uname -r prints: "6.1.0-40-amd64".
func parseRelease(release string) (major, minor int, err error) {
	first, rest, _ := strings.Cut(release, ".")
	second := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	major, errMajor := strconv.Atoi(first)
	minor, errMinor := strconv.Atoi(second)
	if errMajor != nil || errMinor != nil {
		return 0, 0, fmt.Errorf("the kernel's release is %q", release)
	}
	return major, minor, nil
}

func lookAtUser(h Host) Result {
	if h.root() {
		return ok("uid 0")
	}
	return warn(fmt.Sprintf("uid %d: building, printed plans and tests without root work; containers do not", h.UID), "run skiff with sudo")
}
