package plan_test

import (
	"strings"
	"testing"

	"skiff.example/stage01-chroot/plan"
)

// The kernel takes a NUL byte for the end: "/proc/ke\x00ys" would hide nothing.
func TestAStringWithANulByteIsRefused(t *testing.T) {
	for _, step := range []plan.Step{
		plan.Chdir("/proc/ke\x00ys"),
		plan.Mount("a\x00", "/b", "tmpfs", 0, ""),
		plan.Execve("/bin/a", []string{"a", "b\x00c"}, nil),
		plan.Execve("/bin/a", nil, []string{"A=\x00"}),
	} {
		p := &plan.Plan{}
		p.Add(step)
		if _, err := p.Compile(); err == nil || !strings.Contains(err.Error(), "NUL") {
			t.Errorf("%s: error %v", step.Call(), err)
		}
	}
}
