package registry_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"testing"

	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

// quiet is the log of a registry that nobody reads.
var quiet = log.New(io.Discard, "", 0)

// TestMain lets the test program be a process that pulls, so that a test can
// kill it: registry.test pull STORE REFERENCE.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "pull" {
		os.Exit(pullMain(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func pullMain(dir, ref string) int {
	store, err := image.Open(dir)
	if err == nil {
		_, err = registry.Pull(context.Background(), store, ref, registry.Options{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Not what getrusage(2) says: that is never less than what the parent had.
	status, _ := os.ReadFile("/proc/self/status")
	fmt.Printf("VmHWM:%s", strings.Split(string(status), "VmHWM:")[1])
	return 0
}
