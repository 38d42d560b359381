package main_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// CVE-2019-5736 with a pid namespace of its own: who enters a container that waits
// for start finds this program there as process 1, and gets neither at its file nor at
// the environment of whoever has called it.
func TestACreatedContainerShowsNothingOfTheRuntime(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"))
	create := b.command("create", "--bundle", b.dir, b.id)
	create.Env = append(os.Environ(), "SECRET=caller")
	if r := b.finish(create); r.status != 0 {
		t.Fatal(r.err)
	}
	r := b.do("exec", b.id, "sh", "-c", "exec 9< /proc/1/exe && echo opened; busybox cat /proc/1/environ")
	if strings.Contains(r.out, "opened") || strings.Contains(r.out, "SECRET") {
		t.Errorf("it got at %q", r.out)
	}
	// Whoever may look all the same finds a file that has nothing of it.
	exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(b.pid(b.id)), "exe"))
	if b.must(err); !strings.HasPrefix(exe, "/memfd:") {
		t.Errorf("process 1 runs %s", exe)
	}
	b.succeed("delete", "--force", b.id)
}
