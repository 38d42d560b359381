// Package bpf is bpf(2), as much of it as a cgroup's device filter needs: load
// a program into the kernel, attach it to a cgroup v2 group, and find what is
// attached there. x/sys/unix has the numbers but not the call.
//
// A loaded program is a descriptor. An attached one is also held by its group:
// it outlives the descriptor and the process, and goes with the group, so there
// is nothing to write into a journal.
package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Program is a loaded program. The caller closes it.
type Program struct{ fd int }

// Close lets go of the program. If it is attached, it stays so.
func (p *Program) Close() error { return unix.Close(p.fd) }

// license may be any text: only programs that call certain kernel functions
// have to be under the GPL, and ours call none.
const license = "Apache-2.0\x00"

// programLoad is what union bpf_attr holds for BPF_PROG_LOAD.
type programLoad struct {
	kind          uint32
	length        uint32 // in instructions
	code, license unsafe.Pointer
	logLevel      uint32
	logSize       uint32
	log           unsafe.Pointer
	kernel, flags uint32 // unused here
	name          [unix.BPF_OBJ_NAME_LEN]byte
}

// LoadDeviceFilter loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE. Its
// name, 15 letters, digits, '_' and '.' at most, is what tools show (bpftool
// prog) and what [Program.Name] returns. When the kernel's verifier rejects the
// program, the error holds what it says.
func LoadDeviceFilter(name string, code []Instruction) (*Program, error) {
	words := []byte(license)
	attr := programLoad{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, length: uint32(len(code)),
		code: unsafe.Pointer(unsafe.SliceData(code)), license: unsafe.Pointer(unsafe.SliceData(words)),
	}
	if copy(attr.name[:unix.BPF_OBJ_NAME_LEN-1], name) < len(name) {
		return nil, fmt.Errorf("bpf: load %q: %w: the name is longer than %d", name, unix.EINVAL, unix.BPF_OBJ_NAME_LEN-1)
	}
	fd, err := call(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err == nil {
		return &Program{fd}, nil
	}
	if err == unix.EPERM {
		return nil, privileged(fmt.Errorf("bpf: load %q: %w", name, err))
	}
	// Once more, for the log: writing it costs too much to ask for it always.
	log := make([]byte, 64<<10)
	attr.logLevel, attr.logSize, attr.log = 1, uint32(len(log)), unsafe.Pointer(unsafe.SliceData(log))
	if fd, again := call(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); again == nil {
		return &Program{fd}, nil
	}
	said := strings.TrimSpace(unix.ByteSliceToString(log))
	return nil, fmt.Errorf("bpf: load %q, %d instructions: %w\nthe verifier said: %s", name, len(code), err, said)
}

// programAttach is what union bpf_attr holds for BPF_PROG_ATTACH.
type programAttach struct {
	group, program uint32 // descriptors
	kind, flags    uint32
	replace        uint32 // a descriptor as well
}

// AttachDeviceFilter attaches the program to the group whose directory is open
// as group, in the place of the program replace unless that is nil: there is
// no moment without a filter or with both.
//
// With BPF_F_ALLOW_MULTI, the filters of all groups above are asked as well,
// and each of them must allow an access.
func AttachDeviceFilter(group int, p, replace *Program) error {
	attr := programAttach{
		group: uint32(group), program: uint32(p.fd),
		kind: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI,
	}
	if replace != nil {
		attr.flags |= unix.BPF_F_REPLACE
		attr.replace = uint32(replace.fd)
	}
	if _, err := call(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return fmt.Errorf("bpf: attach: %w", err)
	}
	return nil
}

// maxPrograms is how many programs a group can have: BPF_CGROUP_MAX_PROGS of
// the kernel.
const maxPrograms = 64

// programQuery is what union bpf_attr holds for BPF_PROG_QUERY, whole: newer
// kernels write the last field back without asking how long our struct is.
type programQuery struct {
	group, kind             uint32
	queryFlags, attachFlags uint32
	ids                     unsafe.Pointer
	count                   uint32
	_                       uint32
	_                       [3]uint64
	revision                uint64
}

// DeviceFilters returns the ids of the programs that are attached to the group
// itself, not to those above it.
func DeviceFilters(group int) ([]uint32, error) {
	ids := make([]uint32, maxPrograms)
	attr := programQuery{
		group: uint32(group), kind: unix.BPF_CGROUP_DEVICE,
		ids: unsafe.Pointer(unsafe.SliceData(ids)), count: maxPrograms,
	}
	if _, err := call(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return nil, privileged(fmt.Errorf("bpf: query: %w", err))
	}
	return ids[:attr.count], nil
}

// programByID is what union bpf_attr holds for BPF_PROG_GET_FD_BY_ID.
type programByID struct{ id, next, flags uint32 }

// Open returns the loaded program with that id. One that has gone meanwhile is
// ENOENT.
func Open(id uint32) (*Program, error) {
	attr := programByID{id: id}
	fd, err := call(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return nil, privileged(fmt.Errorf("bpf: open program %d: %w", id, err))
	}
	return &Program{fd}, nil
}

// programInfo is struct bpf_prog_info, up to the name.
type programInfo struct {
	_    [64]byte
	name [unix.BPF_OBJ_NAME_LEN]byte
}

// infoByDescriptor is what union bpf_attr holds for BPF_OBJ_GET_INFO_BY_FD.
type infoByDescriptor struct {
	fd, length uint32
	info       unsafe.Pointer
}

// Name returns the name that the program was loaded with.
func (p *Program) Name() (string, error) {
	var info programInfo
	attr := infoByDescriptor{uint32(p.fd), uint32(unsafe.Sizeof(info)), unsafe.Pointer(&info)}
	if _, err := call(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return "", fmt.Errorf("bpf: program name: %w", err)
	}
	name, _, _ := bytes.Cut(info.name[:], []byte{0})
	return string(name), nil
}

// privileged adds to an EPERM what it takes not to get it. CAP_BPF and
// CAP_NET_ADMIN are enough to load and attach, but not to open by id.
func privileged(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	return hint.Add(err, "device filters need CAP_SYS_ADMIN outside of any user namespace (capabilities(7), bpf(2))")
}

// tries bounds how often the kernel may ask to be called again.
const tries = 100

// call is bpf(2). The verifier gives up with EAGAIN when a signal comes, such
// as the SIGURG with which the Go runtime preempts a thread.
//
// Safety: attr points to a struct laid out as the kernel's union bpf_attr is for
// cmd, of size bytes. Its pointer fields are unsafe.Pointer, which on 64-bit
// machines has the form of the kernel's __aligned_u64, so the garbage collector knows what
// they keep alive, and the kernel keeps none of them after the call.
func call(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for i := 0; ; i++ {
		n, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		runtime.KeepAlive(attr)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EAGAIN || i == tries {
			return -1, errno
		}
	}
}
