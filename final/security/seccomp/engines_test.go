package seccomp_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// The profile that podman gives to containers: the file of the package
// golang-github-containers-common.

// podmans reads that file. Some of its entries are for containers with certain
// capabilities, or without: taken are those for a container that has none.
func podmans(t testing.TB) *specs.LinuxSeccomp {
	t.Helper()
	testkit.Need(t, "podman")
	text, err := os.ReadFile("/usr/share/containers/seccomp.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		DefaultAction   specs.LinuxSeccompAction
		DefaultErrnoRet *uint
		Syscalls        []struct {
			specs.LinuxSyscall
			Includes struct {
				Caps, Arches []string
			}
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	s := &specs.LinuxSeccomp{
		DefaultAction: file.DefaultAction, DefaultErrnoRet: file.DefaultErrnoRet,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
	}
	for _, e := range file.Syscalls {
		if len(e.Includes.Caps) == 0 && (len(e.Includes.Arches) == 0 || slices.Contains(e.Includes.Arches, runtime.GOARCH)) {
			s.Syscalls = append(s.Syscalls, e.LinuxSyscall)
		}
	}
	return s
}

// Each number of each architecture, with arguments that its conditions are about.
func TestTheProfilesOfEngines(t *testing.T) {
	for name, s := range map[string]*specs.LinuxSeccomp{"podman": podmans(t), "docker": large()} {
		t.Run(name, func(t *testing.T) {
			names := 0
			for _, e := range s.Syscalls {
				names += len(e.Names)
			}
			f := compile(t, s)
			t.Logf("%d names, %d instructions", names, len(f.Program))
			if names < 350 || len(f.Program) < 100 || len(f.Program) > 1000 {
				t.Errorf("%d names, %d instructions", names, len(f.Program))
			}
			for _, a := range arches() {
				for _, number := range a.Calls {
					for _, arg := range []uint64{0, 16, 40, 0xffffffff} {
						same(t, s, f, call{number, a.Audit, [6]uint64{arg, 0, 9}})
						same(t, s, f, call{number, a.Audit, [6]uint64{arg, arg, arg}})
					}
				}
			}
			r := chooser{rand.New(rand.NewPCG(1, 1))}
			for _, c := range r.calls(s, 3000) {
				same(t, s, f, c)
			}
		})
	}
}
