package shortlived_test

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"skiff.example/final/shortlived"
)

// Where a variable on the main goroutine's stack is before and after the stack is used.
// The tests have goroutines of their own.
var stackBefore, stackAfter = useStack()

//go:noinline
func useStack() (before, after uintptr) {
	var here byte
	before = uintptr(unsafe.Pointer(&here))
	useMuch(0)
	return before, uintptr(unsafe.Pointer(&here))
}

//go:noinline
func useMuch(i int) byte {
	var frame [30 << 10]byte
	frame[i] = 1
	return frame[len(frame)-1-i]
}

// A stack that grows is copied to another place.
func TestStackNeedNotGrow(t *testing.T) {
	if stackBefore != stackAfter {
		t.Errorf("the stack of the main goroutine was at %#x and then at %#x", stackBefore, stackAfter)
	}
}

// On a machine with two, this says nothing.
func TestFewProcessors(t *testing.T) {
	if n := runtime.GOMAXPROCS(0); n != 2 {
		t.Errorf("Go has %d processors", n)
	}
}

// The pages are there though few have been touched: mincore(2).
func TestHeapIsThere(t *testing.T) {
	heap, size, ok := shortlived.Taken()
	if !ok {
		t.Fatal("madvise failed")
	}
	there := make([]byte, size/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(heap)), uintptr(size), uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
		t.Fatal(errno)
	}
	missing := 0
	for _, page := range there {
		if page&1 == 0 {
			missing++
		}
	}
	if missing > len(there)/10 { // Go's runtime may give some back to the kernel
		t.Errorf("%d of %d pages at %p are not there", missing, len(there), heap)
	}
}

// The packages that allocate come later.
func TestInitialisedEarly(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var order []string
	for _, line := range regexp.MustCompile(`(?m)^init (\S+) @`).FindAllStringSubmatch(string(out), -1) {
		order = append(order, line[1])
	}
	own := slices.Index(order, "skiff.example/final/shortlived")
	for _, later := range []string{"internal/godebug", "os", "regexp/syntax", "time", "unicode"} {
		if at := slices.Index(order, later); own < 0 || at < own {
			t.Errorf("of %v shortlived is number %d, and %s number %d", order, own, later, at)
		}
	}
}
