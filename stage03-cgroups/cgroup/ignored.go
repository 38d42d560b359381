// What is asked for and has no effect. The specification lets a runtime ignore
// the limits of kernel memory ("may be ignored by runtimes", config.go of
// specs-go); the others were made meaningless by the kernel. It is no error, as
// engines keep sending them, but whoever asked should hear of it.

package cgroup

import specs "github.com/opencontainers/runtime-spec/specs-go"

// Ignored returns a sentence for each setting of r that Set passes over on any
// machine, for a caller to show as a warning.
func Ignored(r *specs.LinuxResources) []string {
	if r == nil || r.Memory == nil {
		return nil
	}
	var said []string
	//lint:ignore SA1019 it is deprecated, and still to be noticed
	if set(r.Memory.Kernel) {
		said = append(said, "memory.kernel is ignored: Linux bounds kernel memory apart no more since 5.16; memory.limit includes it")
	}
	if r.Memory.UseHierarchy != nil && !*r.Memory.UseHierarchy {
		said = append(said, "memory.useHierarchy false is ignored: since 5.11 Linux always counts the groups below")
	}
	return said
}
