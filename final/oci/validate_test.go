package oci_test

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/oci"
)

// without takes the namespaces of a kind out of a configuration.
func without(kind specs.LinuxNamespaceType) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
	}
}

func TestAConfigurationThatCannotBeIsRefused(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*specs.Spec)
	}{
		{`ociVersion "2.0.0": want 1.something`, func(s *specs.Spec) { s.Version = "2.0.0" }},
		{`ociVersion "": want 1.something`, func(s *specs.Spec) { s.Version = "" }},
		{"root.path is missing", func(s *specs.Spec) { s.Root = nil }},
		{"root.path is missing", func(s *specs.Spec) { s.Root.Path = "" }},
		{"linux is missing", func(s *specs.Spec) { s.Linux = nil }},
		{"no mount namespace", without(specs.MountNamespace)},
		{"it would rename the host", without(specs.UTSNamespace)},
		{"process is missing", func(s *specs.Spec) { s.Process = nil }},
		{"process.args is empty", func(s *specs.Spec) { s.Process.Args = nil }},
		{"process.args is empty", func(s *specs.Spec) { s.Process.Args = []string{""} }},
		{`process.cwd "" is not an absolute path`, func(s *specs.Spec) { s.Process.Cwd = "" }},
		{`process.cwd "srv" is not an absolute path`, func(s *specs.Spec) { s.Process.Cwd = "srv" }},
		{`process: "a\x00b" contains a NUL byte`, func(s *specs.Spec) { s.Process.Args = []string{"sh", "a\x00b"} }},
		{`process: "A=\x00" contains a NUL byte`, func(s *specs.Spec) { s.Process.Env = []string{"A=\x00"} }},
		{`process: "/\x00" contains a NUL byte`, func(s *specs.Spec) { s.Process.Cwd = "/\x00" }},
	} {
		t.Run(c.want, func(t *testing.T) {
			_, err := oci.Load(bundle(t, changed(t, c.change)))
			refused(t, err, c.want)
		})
	}
}

// Left out silently, these would make a container that looks as safe as asked
// for and is not.
func TestWhatSkiffDoesNotDoIsRefusedAndNotLeftOut(t *testing.T) {
	hook := []specs.Hook{{Path: "/bin/true"}}
	for _, c := range []struct {
		field  string
		change func(*specs.Spec)
	}{
		{"hooks", func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: hook} }},
		{"hooks", func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateContainer: hook} }},
		{"hooks", func(s *specs.Spec) { s.Hooks = &specs.Hooks{StartContainer: hook} }},
		{"hooks", func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststart: hook} }},
		{"hooks", func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: hook} }},
		{"linux.seccomp", func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{} }},
		{"linux.intelRdt", func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} }},
		{"linux.mountLabel", func(s *specs.Spec) { s.Linux.MountLabel = "label" }},
		{"linux.personality", func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{} }},
		{"linux.netDevices", func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth0": {}} }},
		{"linux.memoryPolicy", func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} }},
		{"process.apparmorProfile", func(s *specs.Spec) { s.Process.ApparmorProfile = "profile" }},
		{"process.selinuxLabel", func(s *specs.Spec) { s.Process.SelinuxLabel = "label" }},
		{"process.scheduler", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{} }},
		{"process.ioPriority", func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{} }},
		{"process.execCPUAffinity", func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{} }},
	} {
		t.Run(c.field, func(t *testing.T) {
			_, err := oci.Load(bundle(t, changed(t, c.change)))
			refused(t, err, c.field+": not supported")
		})
	}
	if _, err := oci.Load(bundle(t, changed(t, func(s *specs.Spec) { s.Hooks = &specs.Hooks{} }))); err != nil {
		t.Errorf("hooks without a hook: %v", err)
	}
}
