package plan

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan/machine"
)

// The arguments of a call, in two forms: as text, which strace(1) would print,
// and as the machine word that the kernel gets, see "Architecture calling
// conventions" in syscall(2).

// An Arg is one argument of a system call. It can say itself in strace's
// notation, and it can become the machine word that the kernel gets.
type Arg interface {
	// text is the argument in strace's notation; name says what to print for
	// a register or a descriptor that has a name.
	text(name Namer) string
	// word puts what the argument points to into m and returns the word.
	word(m memory) uintptr
}

// A Namer says what to print for the register or descriptor of this name.
// The default prints the name; the strace test prints the number.
type Namer func(name string) string

// memory holds what the words of a program point to: a container's plan has hundreds
// of small things.
type memory struct{ program *machine.Program }

// register returns the address of register i.
func (m memory) register(i int) uintptr {
	// Safety: the registers lie in the program's memory.
	return uintptr(unsafe.Pointer(&m.program.Registers[i]))
}

// take returns zeroed memory for size bytes, aligned for anything that the kernel
// reads.
func (m memory) take(size int) unsafe.Pointer { return m.program.Memory.Take(size) }

// keep copies v, which holds no pointers, for as long as the program lives,
// and returns its address.
func keep[T any](m memory, v T) uintptr { return keepSlice(m, []T{v}) }

// keepSlice is keep for the elements of v; an empty one is NULL.
func keepSlice[T any](m memory, v []T) uintptr {
	if len(v) == 0 {
		return 0
	}
	at := m.take(len(v) * int(unsafe.Sizeof(v[0])))
	// Safety: take has made room for as many.
	copy(unsafe.Slice((*T)(at), len(v)), v)
	return uintptr(at)
}

// keepString copies s and its terminating NUL.
func keepString(m memory, s string) uintptr {
	at := m.take(len(s) + 1)
	// Safety: as in keepSlice.
	copy(unsafe.Slice((*byte)(at), len(s)), s)
	return uintptr(at)
}

// An FD is a file descriptor: a Register that holds one, or a Descriptor.
type FD interface {
	Arg
	isFD()
}

// A Descriptor is an open file of the process that runs the plan. Where it
// has a Name, plans print that instead of the number, which differs from run
// to run.
type Descriptor struct {
	Number int
	Name   string
}

// CWD stands for the current directory in calls whose names end in "at".
var CWD = Descriptor{unix.AT_FDCWD, "AT_FDCWD"}

// String lets a descriptor stand in a sentence.
func (d Descriptor) String() string { return d.text(func(name string) string { return name }) }

func (d Descriptor) isFD() {}

func (d Descriptor) text(name Namer) string {
	switch {
	case d.Number == unix.AT_FDCWD:
		return "AT_FDCWD"
	case d.Name != "":
		return name(d.Name)
	}
	return strconv.Itoa(d.Number)
}

func (d Descriptor) word(memory) uintptr { return uintptr(d.Number) }

// A Register holds the result of a step for later steps of the same plan.
type Register struct {
	Name  string
	index int
}

func (r Register) isFD()                  {}
func (r Register) text(name Namer) string { return name(r.Name) }
func (r Register) word(memory) uintptr    { return uintptr(r.index) }

// intArg is a number, printed in decimal.
type intArg int

func (n intArg) text(Namer) string   { return strconv.Itoa(int(n)) }
func (n intArg) word(memory) uintptr { return uintptr(n) }

// modeArg is a file mode, printed in octal.
type modeArg uint32

func (m modeArg) text(Namer) string {
	if m == 0 {
		return "000"
	}
	return fmt.Sprintf("%#03o", uint32(m))
}
func (m modeArg) word(memory) uintptr { return uintptr(m) }

// symbolArg is a number that has a name: SIG_SETMASK, PR_SET_DUMPABLE, NULL.
type symbolArg struct {
	name  string
	value uintptr
}

func (s symbolArg) text(Namer) string   { return s.name }
func (s symbolArg) word(memory) uintptr { return s.value }

var null = symbolArg{"NULL", 0}

// flagsArg is a set of flags, printed by name.
type flagsArg struct {
	set   flagSet
	value uint64
}

func (f flagsArg) text(Namer) string   { return f.set.text(f.value) }
func (f flagsArg) word(memory) uintptr { return uintptr(f.value) }

// stringArg is the address of a string that ends in NUL.
type stringArg string

func (s stringArg) text(Namer) string     { return quote(string(s)) }
func (s stringArg) word(m memory) uintptr { return keepString(m, string(s)) }

// dataArg is the address of bytes that are counted by another argument: any
// byte may be among them.
type dataArg string

func (d dataArg) text(Namer) string     { return quote(string(d)) }
func (d dataArg) word(m memory) uintptr { return keepString(m, string(d)) }

// stringOrNull is NULL for an empty string, as the mount calls want it.
func stringOrNull(s string) Arg {
	if s == "" {
		return null
	}
	return stringArg(s)
}

// stringsArg is an array of strings that ends in NULL: argv and envp.
type stringsArg []string

func (s stringsArg) text(Namer) string {
	quoted := make([]string, len(s))
	for i, v := range s {
		quoted[i] = quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func (s stringsArg) word(m memory) uintptr {
	addresses := make([]uintptr, len(s)+1)
	for i, v := range s {
		addresses[i] = keepString(m, v)
	}
	return keepSlice(m, addresses)
}

// structArg is the address of a structure. Its text is made when it is asked
// for: most plans are run and never printed.
type structArg[T any] struct {
	show  func() string
	value T
}

// fixed is the text of a structure that needs no making.
func fixed(text string) func() string { return func() string { return text } }

func (s structArg[T]) text(Namer) string     { return s.show() }
func (s structArg[T]) word(m memory) uintptr { return keep(m, s.value) }

// listArg is the address of an array, with its text ready made.
type listArg[T any] struct {
	shown  string
	values []T
}

func (l listArg[T]) text(Namer) string     { return l.shown }
func (l listArg[T]) word(m memory) uintptr { return keepSlice(m, l.values) }

// bufferArg is memory that the kernel writes to; what it is known to write
// is its text.
type bufferArg struct {
	shown string
	size  int
}

func (b bufferArg) text(Namer) string     { return b.shown }
func (b bufferArg) word(m memory) uintptr { return uintptr(m.take(b.size)) }

// quote writes s as strace does: printable ASCII as it is, the C escapes,
// and everything else in the shortest octal that is not misread.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= '\t' && c <= '\r':
			b.WriteString([]string{`\t`, `\n`, `\v`, `\f`, `\r`}[c-'\t'])
		case c >= ' ' && c <= '~':
			b.WriteByte(c)
		case i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '7':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			fmt.Fprintf(&b, `\%o`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// registerIndex is the index of r, or machine.None when there is none.
func registerIndex(r *Register) int16 {
	if r == nil {
		return machine.None
	}
	return int16(r.index)
}
