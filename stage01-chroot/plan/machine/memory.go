package machine

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The memory of a program: pages of its own, from mmap(2), since Go's heap does not
// come along to the child (clone.go), and its garbage collector shall not look here.

// Memory is taken piece by piece and given back at once.
type Memory struct {
	chunks [][]byte
	free   []byte // the rest of the last chunk
}

// chunkSize is how much is mapped at once, in bytes. The kernel gives pages when they
// are written to.
const chunkSize = 256 << 10

// Take returns zeroed memory for size bytes, aligned for anything that the kernel
// reads. There is none only when the machine has no more; then it panics, as Go does.
func (m *Memory) Take(size int) unsafe.Pointer {
	size = (size + 15) &^ 15
	if size > len(m.free) {
		chunk, err := unix.Mmap(-1, 0, max(size, chunkSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			panic(fmt.Sprintf("machine: map %d bytes: %v", max(size, chunkSize), err))
		}
		m.chunks, m.free = append(m.chunks, chunk), chunk
	}
	// Safety: it stays mapped until Close.
	taken := unsafe.Pointer(unsafe.SliceData(m.free))
	m.free = m.free[size:]
	return taken
}

// Close gives all of it back.
func (m *Memory) Close() error {
	var errs []error
	for _, chunk := range m.chunks {
		errs = append(errs, unix.Munmap(chunk))
	}
	*m = Memory{}
	return errors.Join(errs...)
}

// A Program is a compiled plan. Ops, Registers and all that the words in Ops point to
// lie in Memory.
type Program struct {
	Ops       []Op
	Registers []uintptr
	Page      *Page
	Memory    Memory
	child     *newborn
}

// NewProgram makes room for a program of so many ops and registers. All of that will be
// written to at once: MADV_POPULATE_WRITE of madvise(2) gives the pages together, faster
// than one by one. Linux before 5.14 does not know it, and gives them then.
func NewProgram(ops, registers int) *Program {
	const opSize, registerSize = int(unsafe.Sizeof(Op{})), int(unsafe.Sizeof(uintptr(0)))
	p := &Program{}
	// Safety: Take makes room for as many; neither holds pointers.
	p.Ops = unsafe.Slice((*Op)(p.Memory.Take(ops*opSize)), ops)
	p.Registers = unsafe.Slice((*uintptr)(p.Memory.Take(registers*registerSize)), registers)
	if size := ops*opSize + registers*registerSize; len(p.Memory.chunks) == 1 && size > 0 {
		_ = unix.Madvise(p.Memory.chunks[0][:size], unix.MADV_POPULATE_WRITE)
	}
	return p
}

// Close gives the program's memory back: when it has run in this process, or a child
// has its copy.
func (p *Program) Close() error { return p.Memory.Close() }
