package plan_test

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
)

// anyBytes writes strings of random bytes to a descriptor that is not open.
// The seed is fixed, so that both runs of the test have the same strings.
func anyBytes() *plan.Plan {
	const strings, longest = 500, 40
	random := rand.New(rand.NewPCG(1, 2))
	p := &plan.Plan{}
	for i := range strings {
		text := make([]byte, 1+random.IntN(longest))
		for j := range text {
			text[j] = byte(random.UintN(256))
			if i%2 == 1 { // what an octal escape makes difficult: a digit after it
				text[j] = "\x00\x01\x7f\xff\t\n\"\\0179a"[random.IntN(13)]
			}
		}
		p.Add(plan.Write(plan.Descriptor{Number: 987}, string(text)))
	}
	return p
}

func TestAnyBytesAreQuotedAsStraceDoes(t *testing.T) {
	p := anyBytes()
	if os.Getenv("RUN_EVERY_CALL") != "" {
		runtime.LockOSThread() // each thread has a trace of its own; the calls are compared in order
		for _, s := range p.Steps() {
			_ = plan.Run(p.Only(s)) // EBADF
		}
		return
	}
	testkit.Need(t, "strace")
	var seen []string
	for line := range strings.Lines(traceOf(t)) {
		if strings.HasPrefix(line, "write(987, ") {
			text, _, _ := strings.Cut(line, " = -1 EBADF")
			seen = append(seen, text)
		}
	}
	if len(seen) != p.Len() {
		t.Fatalf("strace saw %d calls, want %d", len(seen), p.Len())
	}
	for i, s := range p.Steps() {
		if want := s.Text(numbers); strings.TrimRight(seen[i], " ") != want {
			t.Errorf("printed: %s\nstrace:  %s", want, seen[i])
		}
	}
}
