package oci

import (
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage02-namespaces/execvp"
)

// The configuration that containers of images begin with, and that `spec` writes.

// Default is a configuration to start from: a container with all namespaces
// but the user and the time namespace, and few rights. Each call returns one
// of its own.
func Default() *specs.Spec {
	capabilities := DefaultCapabilities()
	return &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs", Readonly: true},
		Process: &specs.Process{
			Terminal: true,
			Args:     []string{"sh"},
			Env:      []string{"PATH=" + execvp.DefaultPath, "TERM=xterm"},
			Cwd:      "/",
			Capabilities: &specs.LinuxCapabilities{
				Bounding: capabilities, Effective: capabilities, Permitted: capabilities,
			},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
			NoNewPrivileges: true,
		},
		Hostname: "skiff",
		Mounts:   defaultMounts(),
		Linux: &specs.Linux{
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces:    defaultNamespaces(),
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

// DefaultCapabilities are those that docker gives a container: enough for the
// package managers and servers of common images, and nothing that reaches
// beyond the container.
func DefaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
		"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP",
	}
}

// defaultMounts are what programs expect below /proc, /dev and /sys:
// runtime-spec config-linux.md, "Default Filesystems".
func defaultMounts() []specs.Mount {
	quiet := []string{"nosuid", "noexec", "nodev"}
	with := func(more ...string) []string { return append(append([]string{}, quiet...), more...) }
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: with()},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: with("mode=1777", "size=65536k")},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: with()},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: with("ro")},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: with("relatime", "ro")},
	}
}

// defaultNamespaces are new ones of every kind that needs no further choice.
func defaultNamespaces() []specs.LinuxNamespace {
	return []specs.LinuxNamespace{
		{Type: specs.PIDNamespace},
		{Type: specs.NetworkNamespace},
		{Type: specs.IPCNamespace},
		{Type: specs.UTSNamespace},
		{Type: specs.MountNamespace},
		{Type: specs.CgroupNamespace},
	}
}

// maskedPaths tell about the host, or let its hardware be watched: the power
// meters of intel-rapl give away what other programs compute (CVE-2020-8694).
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

// Thermal are the folders below sys, which is /sys, that tell how hot each processor
// is: like the power meters they give away what others compute (GHSA-6fw5-f8r9-fgfm).
func Thermal(sys string) []string {
	folders, _ := filepath.Glob(sys + "/devices/system/cpu/cpu[0-9]*/thermal_throttle") // the pattern is well formed
	for i, folder := range folders {
		folders[i] = "/sys" + strings.TrimPrefix(folder, sys)
	}
	return folders
}

// Rootless changes a configuration into one that an ordinary user can run: root is
// he himself, in a user namespace; no limits, for which he would need a cgroup of
// his own; the host's network, because he cannot connect another one to it; and
// what only root of the first user namespace may mount is shown as the host has it, and
// read-only with all below: groups that were delegated to him, too (CVE-2023-25809).
func Rootless(s *specs.Spec, uid, gid int) {
	own := func(id int) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(id), Size: 1}}
	}
	s.Linux.UIDMappings, s.Linux.GIDMappings = own(uid), own(gid)
	s.Linux.Resources = nil
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/sys" || m.Destination == "/sys/fs/cgroup" })
	for i, m := range s.Mounts { // no group but his own exists in there
		s.Mounts[i].Options = slices.DeleteFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "gid=") || strings.HasPrefix(o, "uid=") })
	}
	s.Mounts = append(s.Mounts, specs.Mount{
		Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "rro"},
	})
}

// WriteSpec writes a configuration as people read it.
func WriteSpec(w io.Writer, s *specs.Spec) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "\t")
	return encoder.Encode(s)
}
