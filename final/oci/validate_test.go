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
		{"it would rename the host", without(specs.UTSNamespace)},
		{"process.args is empty", func(s *specs.Spec) { s.Process.Args = nil }},
		{`process.cwd "" is not an absolute path`, func(s *specs.Spec) { s.Process.Cwd = "" }},
		{`process.cwd "srv" is not an absolute path`, func(s *specs.Spec) { s.Process.Cwd = "srv" }},
		{`process: "a\x00b" contains a NUL byte`, func(s *specs.Spec) { s.Process.Args = []string{"sh", "a\x00b"} }},
		{`process: "A=\x00" contains a NUL byte`, func(s *specs.Spec) { s.Process.Env = []string{"A=\x00"} }},
		{`process: "/\x00" contains a NUL byte`, func(s *specs.Spec) { s.Process.Cwd = "/\x00" }},
	} {
		t.Run(c.want, func(t *testing.T) {
			_, _, err := oci.Load(bundle(t, changed(t, c.change)))
			refused(t, err, c.want)
		})
	}
}
