package machine

import (
	"fmt"
	"reflect"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where this program is in memory, for a child that is to let go of it: the parts of
// its file that are mapped (elf(5), "Program header"), and among them the code that
// the child needs until its execve(2), which is this package's.

// A Part is a part of this program's file in memory: whole pages.
type Part struct {
	Start, Size uintptr // an address, and bytes
}

// Bytes are what is in the part.
//
// Safety: it is mapped for as long as this process lives.
func (p Part) Bytes() []byte {
	start := p.Start
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&start))), p.Size)
}

// AddressOf is where memory lies that is not Go's, from mmap(2).
func AddressOf(memory []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(memory))) }

// End is the address behind the part.
func (p Part) End() uintptr { return p.Start + p.Size }

// pages makes a part of the pages that hold the addresses from start to end.
func pages(start, end uintptr) Part {
	size := uintptr(unix.Getpagesize())
	start &^= size - 1
	return Part{Start: start, Size: (end - start + size - 1) &^ (size - 1)}
}

// Code are the pages with the code that the child of Clone runs. The linker puts the
// functions of a package one after another.
func Code() Part {
	const longest = 2048 // bytes, of any of the functions
	var first, last uintptr
	for _, function := range []any{child, Loop, issue, explain, now, call, Exit} {
		at := reflect.ValueOf(function).Pointer()
		if first == 0 || at < first {
			first = at
		}
		last = max(last, at)
	}
	return pages(first-longest, last+longest)
}

// programHeader is Elf64_Phdr of elf(5).
type programHeader struct {
	kind, flags                                             uint32
	offset, address, physical, fileSize, memorySize, aligns uint64
}

// Values of its fields: elf(5), and of the auxiliary vector: getauxval(3).
const (
	ptLoad, ptPhdr     = 1, 6
	atPhdr, atPhnum    = 3, 5
	atRandom, atExecfn = 25, 31
)

// given are the pages with the arguments and the environment of this process, which a
// caller may have put secrets into. execve(2) puts them at the top of the first stack,
// between the bytes of AT_RANDOM and the name of AT_EXECFN: getauxval(3). There are none
// if the kernel does not say.
func given() Part {
	vector, err := unix.Auxv()
	if err != nil {
		return Part{}
	}
	var random, name uintptr
	for _, pair := range vector {
		switch pair[0] {
		case atRandom:
			random = pair[1]
		case atExecfn:
			name = pair[1]
		}
	}
	if random == 0 || name < random {
		return Part{}
	}
	// Safety: the kernel says that a string is there.
	length := len(unix.BytePtrToString(*(**byte)(unsafe.Pointer(&name))))
	return pages(random, name+uintptr(length)+1)
}

// Self are the parts of this program's file that the kernel has mapped, in order. The
// program headers say which, and the auxiliary vector (getauxval(3)) where these are.
func Self() ([]Part, error) {
	vector, err := unix.Auxv()
	if err != nil {
		return nil, fmt.Errorf("find this program in memory: %w", err)
	}
	var at, count uintptr
	for _, pair := range vector {
		switch pair[0] {
		case atPhdr:
			at = pair[1]
		case atPhnum:
			count = pair[1]
		}
	}
	// Safety: the kernel says that the headers are there.
	headers := unsafe.Slice((*programHeader)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), count)
	var moved uintptr // by how much, for a program that runs anywhere
	for _, h := range headers {
		if h.kind == ptPhdr {
			moved = at - uintptr(h.address)
		}
	}
	var parts []Part
	for _, h := range headers {
		if h.kind == ptLoad && h.fileSize > 0 {
			start := moved + uintptr(h.address)
			parts = append(parts, pages(start, start+uintptr(h.fileSize)))
		}
	}
	return parts, nil
}
