package oci

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/netdevice"
	"skiff.example/final/resctrl"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/execvp"
)

// What a configuration must have, and what cannot be.

// validate refuses what cannot be, before anything is made on the host.
func validate(s *specs.Spec) error {
	switch {
	case !strings.HasPrefix(s.Version, "1."):
		return fmt.Errorf("ociVersion %q: want 1.something", s.Version)
	case s.Root == nil || s.Root.Path == "":
		return errors.New("root.path is missing")
	case s.Linux == nil:
		return errors.New("linux is missing: only Linux containers are supported")
	case (s.Hostname != "" || s.Domainname != "") && !hasNamespace(s, specs.UTSNamespace):
		return errors.New("hostname or domainname is set, but linux.namespaces has no uts namespace: it would rename the host")
	}
	var err error
	if s.Process != nil { // it is start that wants one
		err = validateProcess(s.Process)
	}
	return cmp.Or(err, validateHooks(s.Hooks), validatePaths(s.Linux), checkAttributes(WithProcess(s)), validateGroups(s))
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

// validateGroups checks what the parent does for the container on the host: its
// place in the resctrl file system, and the network devices that move.
func validateGroups(s *specs.Spec) error {
	l := s.Linux
	if l.IntelRdt != nil {
		if err := resctrl.Check(l.IntelRdt); err != nil {
			return err
		}
	}
	if len(l.NetDevices) > 0 && !hasNamespace(s, specs.NetworkNamespace) {
		return errors.New("linux.netDevices: linux.namespaces has no network namespace to move them to")
	}
	for name, d := range l.NetDevices {
		if d.Name == "" {
			d.Name = name
		}
		if err := errors.Join(netdevice.CheckName(name), netdevice.CheckName(d.Name)); err != nil {
			return fmt.Errorf("linux.netDevices: %w", err)
		}
	}
	return nil
}

// validateProcess checks the program that the container runs.
func validateProcess(p *specs.Process) error {
	switch {
	case p == nil:
		return errors.New("process is missing")
	case len(p.Args) == 0:
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
	return validateSearch(p)
}

// maxSearch bounds what a plan holds of arguments and environment, in bytes: each
// directory of PATH is a step that has all of them.
const maxSearch = 16 << 20

// validateSearch makes sure that the plan will not be out of all proportion.
func validateSearch(p *specs.Process) error {
	directories, size := len(execvp.Candidates(p.Args[0], p.Env)), 0
	for _, text := range slices.Concat(p.Args, p.Env) {
		size += len(text) + 1
	}
	if directories > maxSearch/size {
		return fmt.Errorf("process.env: PATH has %d directories, too many for arguments and environment of %d bytes", directories, size)
	}
	return nil
}

// hasNamespace tells whether the container has a namespace of this type that
// is not its parent's.
func hasNamespace(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
}
