package oci

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/hint"
)

// What a configuration must have, and what skiff does not do.

// validate refuses what cannot be, before anything is made on the host.
func validate(s *specs.Spec) error {
	switch {
	case !strings.HasPrefix(s.Version, "1."):
		return fmt.Errorf("ociVersion %q: want 1.something", s.Version)
	case s.Root == nil || s.Root.Path == "":
		return errors.New("root.path is missing")
	case s.Linux == nil:
		return errors.New("linux is missing: only Linux containers are supported")
	case !hasNamespace(s, specs.MountNamespace):
		return errors.New("linux.namespaces has no mount namespace: without one the host's root would be replaced")
	case (s.Hostname != "" || s.Domainname != "") && !hasNamespace(s, specs.UTSNamespace):
		return errors.New("hostname or domainname is set, but linux.namespaces has no uts namespace: it would rename the host")
	}
	if err := validateProcess(s.Process); err != nil {
		return err
	}
	if err := validatePaths(s.Linux); err != nil {
		return err
	}
	return unsupported(s)
}

// maxID is the greatest id of a user or group. Above it are numbers that mean
// something else to the kernel: 4294967295 is "leave it as it is" to
// setresuid(2), and the process would stay root.
const maxID = 1<<31 - 1

// validatePaths checks the paths that are hidden or made read-only: one that
// is never found would leave them open without a word.
func validatePaths(l *specs.Linux) error {
	for _, p := range append(slices.Clone(l.MaskedPaths), l.ReadonlyPaths...) {
		if !path.IsAbs(p) {
			return fmt.Errorf("linux.maskedPaths or readonlyPaths: %q is not an absolute path", p)
		}
	}
	return nil
}

// validateProcess checks the program that the container runs.
func validateProcess(p *specs.Process) error {
	switch {
	case p == nil:
		return errors.New("process is missing")
	case len(p.Args) == 0 || p.Args[0] == "":
		return hint.Add(errors.New("process.args is empty"), "say which command to run")
	case !path.IsAbs(p.Cwd):
		return fmt.Errorf("process.cwd %q is not an absolute path", p.Cwd)
	}
	for _, id := range append([]uint32{p.User.UID, p.User.GID}, p.User.AdditionalGids...) {
		if id > maxID {
			return fmt.Errorf("process.user: id %d is not between 0 and %d", id, maxID)
		}
	}
	for _, list := range [][]string{p.Args, p.Env, {p.Cwd}} {
		if i := slices.IndexFunc(list, func(s string) bool { return strings.ContainsRune(s, 0) }); i >= 0 {
			return fmt.Errorf("process: %q contains a NUL byte", list[i])
		}
	}
	return nil
}

// hasNamespace tells whether the container has a namespace of this type that
// is not its parent's.
func hasNamespace(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
}

// unsupported names the first thing that the configuration asks for and that
// skiff does not do. To leave it out silently would be worse: a container
// without its seccomp filter looks just like one with it.
func unsupported(s *specs.Spec) error {
	l, p := s.Linux, s.Process
	for _, field := range []struct {
		name string
		used bool
	}{
		{"hooks", s.Hooks != nil && hooks(s.Hooks) > 0},
		{"linux.seccomp", l.Seccomp != nil},
		{"linux.intelRdt", l.IntelRdt != nil},
		{"linux.mountLabel", l.MountLabel != ""},
		{"linux.personality", l.Personality != nil},
		{"linux.netDevices", len(l.NetDevices) > 0},
		{"linux.memoryPolicy", l.MemoryPolicy != nil},
		{"process.apparmorProfile", p.ApparmorProfile != ""},
		{"process.selinuxLabel", p.SelinuxLabel != ""},
		{"process.scheduler", p.Scheduler != nil},
		{"process.ioPriority", p.IOPriority != nil},
		{"process.execCPUAffinity", p.ExecCPUAffinity != nil},
	} {
		if field.used {
			return hint.Add(fmt.Errorf("%s: not supported", field.name), "remove it from config.json if the container can do without")
		}
	}
	return nil
}

// hooks counts the hooks of all kinds.
func hooks(h *specs.Hooks) int {
	//lint:ignore SA1019 prestart is deprecated, and still to be noticed
	return len(h.Prestart) + len(h.CreateRuntime) + len(h.CreateContainer) + len(h.StartContainer) + len(h.Poststart) + len(h.Poststop)
}
