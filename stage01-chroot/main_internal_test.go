package main

import (
	"strings"
	"testing"

	"skiff.example/stage01-chroot/plan"
)

// No command line can hold a NUL byte, but the text of a plan can: the kernel
// would take it for the end.
func TestANULByteIsRefused(t *testing.T) {
	for name, words := range map[string][]string{
		"the root":     {"/srv\x00/root", "/bin/sh"},
		"the program":  {"/srv/root", "/bin/sh\x00.txt"},
		"its argument": {"/srv/root", "/bin/sh", "a\x00b"},
	} {
		p, err := container(words[0], nil, words[1:])
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Run(p); err == nil || !strings.Contains(err.Error(), "contains a NUL byte") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
