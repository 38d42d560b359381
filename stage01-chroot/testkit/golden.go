package testkit

import (
	"testing"

	"gotest.tools/v3/golden"
)

// Golden files: what a program should print, kept beside its test.

// Golden compares Normalize(got) with the file of that name in the test's
// testdata folder. `go test -update` writes the file instead.
func Golden(t testing.TB, got, file string) {
	t.Helper()
	golden.Assert(t, Normalize(got), file)
}
