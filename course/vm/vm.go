// Package vm runs programs in a small virtual machine: Debian's kernel, no
// disk, no network, control groups of version 2 and nothing else. The machines
// that people work on differ in their control groups, and the tests of a
// container runtime have to run on each kind; `make test-v2` runs them here.
//
// QEMU emulates the processor in software, so that this works where there is
// no KVM: in a container, and in a machine that is virtual itself. It needs no
// root. The parts are
//
//	FindKernel      the kernel and its modules, from Debian's package, unpacked
//	                into a cache and not installed
//	Machine         what is in the machine's first and only file system (cpio.go
//	                writes it), and what is to be run; Run boots it
//	guest           the first process in there, a program of ours
//	wire            what guest and host say to each other
//	All, Suite      which of our tests run there, and which do not, and why
//	Test            builds them, runs them and reports as `go test` does
//	Shell           a machine to type in, with the programs of the stages
//
// From power on to the first test it takes about three seconds. Nothing stays
// on the host but the cache: the file system is in memory and there is no disk
// image, no network device, no socket; the machine ends with the process that
// started it, however that ends.
package vm

import (
	"bytes"
	"encoding/json"
	"io"
	"os"

	"skiff.example/course/vm/wire"
	"skiff.example/stage01-chroot/rootfs"
)

// Machine is a virtual machine that does some jobs, one after another, and is
// then turned off.
type Machine struct {
	Kernel *Kernel
	Guest  string        // the path of the program …/vm/guest, static
	Files  []rootfs.File // what is in its file system; a directory comes before what is in it
	Jobs   []wire.Job
	Memory int // MiB; the files are in there too

	// Console is where the kernel's messages go, and QEMU's.
	Console io.Writer
	// Terminal, if it is not nil, is the machine's console: the kernel's
	// messages go there, and jobs may run on it. QEMU makes it raw.
	Terminal *os.File
}

// files returns all that is in the machine: Files, and what the guest needs to
// start and to know what to do.
func (m *Machine) files() ([]rootfs.File, error) {
	order, err := json.Marshal(wire.Order{Modules: m.Kernel.Modules, Jobs: m.Jobs})
	if err != nil {
		return nil, err
	}
	files := append(append([]rootfs.File{}, m.Files...),
		regular("init", m.Guest, 0o755),
		rootfs.File{Name: wire.OrderFile[1:], Mode: 0o644, Data: order},
		directory(wire.ModulesDir[1:]))
	for _, name := range m.Kernel.Modules {
		files = append(files, regular(wire.ModulesDir[1:]+"/"+name, m.Kernel.module(name), 0o644))
	}
	return files, nil
}

// tail keeps the last bytes of what is written to it: of a machine's console,
// what it said before it died.
type tail struct{ bytes.Buffer }

// tailSize is about a screen.
const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	n, err := t.Buffer.Write(p)
	if over := t.Len() - tailSize; over > 0 {
		t.Next(over)
	}
	return n, err
}
