package seccomp

import specs "github.com/opencontainers/runtime-spec/specs-go"

// An Arch is an architecture as the reference in the tests sees it.
type Arch struct {
	Name  specs.Arch
	Audit uint32
	Wide  bool
	Calls map[string]uint32
}

// Arches are all that have tables, and their calls.
func Arches() []Arch {
	var all []Arch
	for i := range arches {
		a := Arch{arches[i].name, arches[i].audit, arches[i].wide, map[string]uint32{}}
		arches[i].eachCall(func(name string, number uint32) { a.Calls[name] = number })
		all = append(all, a)
	}
	return all
}
