// What the groups of a container cost. Most of it is the kernel's: mkdir(2)
// allocates counters for every processor, and each process that is moved waits
// for readers of the old group (RCU).

package cgroup_test

import (
	"os/exec"
	"strconv"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, err := cgroup.Detect(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkContainer is what a container without limits costs: a group in
// every hierarchy, its devices, one process moved in, and the group before it
// (which that process has left) removed. Next to it are its parts.
func BenchmarkContainer(b *testing.B) {
	testkit.Root(b)
	h := detect(b)
	cat := exec.Command("cat")
	in, err := cat.StdinPipe()
	must(b, err)
	must(b, cat.Start())
	r := &specs.LinuxResources{Devices: append([]specs.LinuxDeviceCgroup{{Access: "rwm"}}, cgroup.DefaultDevices()...)}

	var last *cgroup.Manager
	n := 0
	parts := func(b *testing.B, timed string) {
		part := func(name string, f func() error) {
			if timed == name {
				b.StartTimer()
			}
			must(b, f())
			if timed == name {
				b.StopTimer()
			}
		}
		if timed != "all" {
			b.StopTimer()
		}
		for range b.N {
			n++
			m := manager(b, h, "/skiff-bench-"+strconv.Itoa(n))
			part("create", func() error { return m.Create(nil) })
			part("set", func() error { return m.Set(r) })
			part("add", func() error { return m.Add(cat.Process.Pid) })
			if last != nil {
				part("delete", last.Delete)
			}
			last = m
		}
	}
	for _, timed := range []string{"all", "create", "set", "add", "delete"} {
		b.Run(timed, func(b *testing.B) { parts(b, timed) })
	}
	in.Close()
	cat.Wait()
	must(b, last.Delete())
}
