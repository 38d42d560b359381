package escape_test

import (
	"strings"
	"testing"

	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/hint"
)

// That the ways lead out is tested in stage01 itself, which can be run in a
// root; what a plan looks like, in its golden files.

func TestAWayIsFoundByItsName(t *testing.T) {
	for _, way := range escape.Ways {
		found, err := escape.Named(way.Name)
		if err != nil || found.How != way.How {
			t.Errorf("%s: %q, %v", way.Name, found.How, err)
		}
	}
	_, err := escape.Named("magic")
	if err == nil || hint.Of(err) != "there are: chroot, descriptor, leak, proc" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
}

// A word that the kernel would cut short is refused.
func TestANULByteIsRefused(t *testing.T) {
	for _, way := range escape.Ways {
		_, err := way.Plan(escape.Usual, []string{"/bin/sh\x00.txt"}, nil).Compile()
		if err == nil || !strings.Contains(err.Error(), `"/bin/sh\x00.txt" contains a NUL byte`) {
			t.Errorf("%s: got %v", way.Name, err)
		}
	}
}
