package seccomp_test

import (
	"testing"

	"skiff.example/final/security/seccomp"
)

// How long it takes to compile the profile that nearly every container has: it is
// part of the start of each. Less than half a millisecond is asked for.
func BenchmarkCompile(b *testing.B) {
	s := large()
	names := 0
	for _, e := range s.Syscalls {
		names += len(e.Names)
	}
	b.ReportAllocs()
	for b.Loop() {
		f, _, err := seccomp.Compile(s)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(f.Program)), "instructions")
		b.ReportMetric(float64(names), "names")
	}
}
