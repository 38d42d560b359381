// The meaning of device rules, tried on thousands of random lists without a
// kernel: what our translations say, against the specification's sentence
// written down (a later rule wins). The v2 program runs in an interpreter of the
// few instructions that it is made of; the v1 list is asked as
// security/device_cgroup.c in the kernel asks it.

package cgroup

import (
	"math/rand/v2"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage03-cgroups/bpf"
)

// access is one attempt: letters of rwm, all of which are wanted at once.
type access struct {
	kind         byte
	major, minor int64
	letters      string
}

// meant is the specification: for each letter, the last rule that speaks of
// the device and the letter decides.
func meant(rules []specs.LinuxDeviceCgroup, a access) bool {
	for _, letter := range a.letters {
		may := true // a new group may do everything
		for _, r := range rules {
			speaks := (r.Type == "" || r.Type == "a" || r.Type[0] == a.kind) &&
				(r.Major == nil || *r.Major == -1 || *r.Major == a.major) &&
				(r.Minor == nil || *r.Minor == -1 || *r.Minor == a.minor) &&
				strings.ContainsRune(r.Access, letter)
			if speaks {
				may = r.Allow
			}
		}
		if !may {
			return false
		}
	}
	return true
}

// randomRules are about few devices, so that they meet.
func randomRules(random *rand.Rand) []specs.LinuxDeviceCgroup {
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	number := func() *int64 {
		n := []int64{-2, -1, 0, 1, 1, 2, 4095}[random.IntN(7)]
		if n == -2 {
			return nil
		}
		return &n
	}
	var rules []specs.LinuxDeviceCgroup
	for range 1 + random.IntN(10) {
		rules = append(rules, specs.LinuxDeviceCgroup{
			Allow: random.IntN(2) == 0, Type: pick("c", "c", "b", "b", "a", ""),
			Major: number(), Minor: number(), Access: pick("r", "w", "m", "rw", "wm", "mr", "rwm", "mwr"),
		})
	}
	return rules
}

func randomAccess(random *rand.Rand) access {
	numbers := []int64{0, 1, 2, 3, 4095}
	return access{
		"cb"[random.IntN(2)], numbers[random.IntN(5)], numbers[random.IntN(5)],
		[]string{"r", "w", "m", "rw"}[random.IntN(4)], // the kernel asks for no other
	}
}

func TestTheProgramMeansWhatTheRulesSay(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		rules := randomRules(random)
		translated, err := deviceRules(rules)
		if err != nil {
			t.Fatal(err)
		}
		left, otherwise, _ := fromLastReset(translated)
		code := deviceFilter(left, otherwise)
		for range 20 {
			a := randomAccess(random)
			if got, want := execute(t, code, a), meant(rules, a); got != want {
				t.Fatalf("rules %v: access %c %d:%d %s: %v, want %v", translated, a.kind, a.major, a.minor, a.letters, got, want)
			}
		}
	}
}

// execute runs a program on struct bpf_cgroup_dev_ctx of linux/bpf.h.
func execute(t *testing.T, code []bpf.Instruction, a access) bool {
	t.Helper()
	kind := map[byte]uint32{'b': unix.BPF_DEVCG_DEV_BLOCK, 'c': unix.BPF_DEVCG_DEV_CHAR}[a.kind]
	var bits uint32
	for letter, bit := range map[string]uint32{"m": unix.BPF_DEVCG_ACC_MKNOD, "r": unix.BPF_DEVCG_ACC_READ, "w": unix.BPF_DEVCG_ACC_WRITE} {
		if strings.Contains(a.letters, letter) {
			bits |= bit
		}
	}
	context := [3]uint32{bits<<16 | kind, uint32(a.major), uint32(a.minor)}
	var r [11]uint32
	for at := 0; at < len(code); at++ {
		i := code[at]
		to, from, value := &r[i.Registers&15], r[i.Registers>>4], uint32(i.Immediate)
		jump := false
		switch i.Code {
		case unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W:
			*to = context[i.Offset/4]
		case unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K:
			*to = value
		case unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X:
			*to = from
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			*to &= value
		case unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K:
			*to >>= value
		case unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K:
			jump = *to != value
		case unix.BPF_JMP32 | unix.BPF_JSET | unix.BPF_K:
			jump = *to&value != 0
		case unix.BPF_JMP | unix.BPF_JA:
			jump = true
		case unix.BPF_JMP | unix.BPF_EXIT:
			return r[0] == 1
		default:
			t.Fatalf("instruction %d: unknown code %#x", at, i.Code)
		}
		if jump {
			at += int(i.Offset)
		}
	}
	t.Fatal("the program has no end")
	return false
}

// A list of v1 that is taken means the same, one letter at a time. (For two at
// once v1 wants one exception that has both: it allows less, never more.) And
// some lists must be taken, or the test would show nothing.
func TestTheListMeansWhatTheRulesSay(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	taken := 0
	for range 20000 {
		rules := randomRules(random)
		list, ok := listOf(t, rules)
		if !ok {
			continue
		}
		taken++
		for range 20 {
			a := randomAccess(random)
			got, want := list.allows(a), meant(rules, a)
			if got && !want || got != want && len(a.letters) == 1 {
				t.Fatalf("rules %v\nlist %v\naccess %c %d:%d %s: %v, want %v", rules, list, a.kind, a.major, a.minor, a.letters, got, want)
			}
		}
	}
	if taken < 5000 {
		t.Errorf("only %d lists were taken", taken)
	}
}

// listOf applies the rules to what a new group allows; ok is false where the
// kernel could not do what they say.
func listOf(t *testing.T, rules []specs.LinuxDeviceCgroup) (list *deviceList, ok bool) {
	t.Helper()
	translated, err := deviceRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	list = &deviceList{allow: true}
	for _, r := range translated {
		if list.apply(r) != nil {
			return nil, false
		}
	}
	return list, true
}

// allows asks as the kernel does: from a list that allows all, one letter of an
// exception is enough to refuse; from one that allows nothing, one exception
// must have all letters.
func (l *deviceList) allows(a access) bool {
	for _, e := range l.exceptions {
		same := e.kind == a.kind && (e.major == wildcard || e.major == a.major) && (e.minor == wildcard || e.minor == a.minor)
		if !same {
			continue
		}
		if l.allow && strings.ContainsAny(e.access, a.letters) {
			return false
		}
		if !l.allow && minus(a.letters, e.access) == "" {
			return true
		}
	}
	return l.allow
}
