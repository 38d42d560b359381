package seccomp_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/security/seccomp"
)

// The compiled filter and the profile's meaning give the same verdict: for random
// profiles and random calls, and for all that is close to a boundary.

// compile compiles a profile, which must be right.
func compile(t testing.TB, s *specs.LinuxSeccomp) *seccomp.Filter {
	t.Helper()
	f, _, err := seccomp.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(f.Program); err != nil {
		t.Fatalf("the kernel would refuse it: %v\n%s", err, f)
	}
	return f
}

// same compares the filter with the meaning of the profile.
func same(t testing.TB, s *specs.LinuxSeccomp, f *seccomp.Filter, c call) {
	t.Helper()
	want := verdict(s, c)
	if got, _, _ := run(f.Program, c); got != want {
		text, _ := json.Marshal(s)
		t.Fatalf("call %+v: filter says %#x, profile %#x\n%s\n%s", c, got, want, text, f)
	}
}

// A chooser makes random profiles and calls.
type chooser struct{ *rand.Rand }

// pick is one of the values.
func pick[T any](r chooser, values ...T) T { return values[r.IntN(len(values))] }

// names are the calls that random profiles speak of: few, so that their rules
// meet, and among them those with something special.
var someNames = []string{
	"read", "getppid", "socket", "sendto", "send", "socketcall", "ipc", "semop", "shmctl", "personality", "ioctl", "execve", "clone",
	"clone3", "mseal", "set_tls", "preadv2", "_llseek", "no_such_call", "restart_syscall",
}

// value is a number around which comparisons change.
func (r chooser) value() uint64 {
	half := func() uint64 {
		return pick(r, 0, 1, 2, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, uint64(r.Uint32()))
	}
	return half()<<32&pick(r, 0, ^uint64(0)) | half()
}

// profile is a random profile, without SCMP_ACT_NOTIFY as default.
func (r chooser) profile() *specs.LinuxSeccomp {
	actions := []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActTrap, specs.ActTrace, specs.ActLog,
	}
	errno := func(a specs.LinuxSeccompAction) *uint {
		if a != specs.ActErrno && a != specs.ActTrace || r.IntN(2) == 0 {
			return nil
		}
		e := uint(r.IntN(4))
		return &e
	}
	s := &specs.LinuxSeccomp{DefaultAction: pick(r, actions...), ListenerPath: "/agent"}
	s.DefaultErrnoRet = errno(s.DefaultAction)
	for _, a := range arches() {
		if r.IntN(4) == 0 {
			s.Architectures = append(s.Architectures, a.Name)
		}
	}
	for range r.IntN(8) {
		e := specs.LinuxSyscall{Action: pick(r, append(actions, specs.ActNotify)...)}
		e.ErrnoRet = errno(e.Action)
		for range 1 + r.IntN(6) {
			e.Names = append(e.Names, pick(r, someNames...))
		}
		for range r.IntN(5) {
			ops := []specs.LinuxSeccompOperator{
				specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpMaskedEqual,
			}
			e.Args = append(e.Args, specs.LinuxSeccompArg{Index: uint(r.IntN(3)), Op: pick(r, ops...), Value: r.value(), ValueTwo: r.value()})
		}
		s.Syscalls = append(s.Syscalls, e)
	}
	return s
}

// calls are random calls about which the profile may have something to say: by
// name, with arguments at and beside the values of conditions.
func (r chooser) calls(s *specs.LinuxSeccomp, n int) []call {
	values := []uint64{0, 1, 2, 5, 11, 24}
	for _, e := range s.Syscalls {
		for _, a := range e.Args {
			values = append(values, a.Value, a.Value-1, a.Value+1, a.ValueTwo, a.Value^1<<32, a.ValueTwo&a.Value, a.Value|uint64(r.Uint32())<<32)
		}
	}
	arches := arches()
	var all []call
	for range n {
		a := pick(r, arches...)
		c := call{audit: a.Audit, number: a.Calls[pick(r, someNames...)]}
		switch r.IntN(8) {
		case 0:
			c.number = r.Uint32()
		case 1:
			c.number = pick[uint32](r, 0, 1<<30-1, 1<<30, 1<<30+511, 1<<32-1, 1<<32-2, 0xf0001, 0xf0007)
		case 2:
			c.number += pick[uint32](r, 1, ^uint32(0))
		case 3:
			c.audit = pick(r, 0, c.audit^1, c.audit^0x40000000, r.Uint32())
		}
		for i := range c.args {
			c.args[i] = pick(r, values...)
		}
		all = append(all, c)
	}
	return all
}

func TestTheFilterDecidesAsTheProfileMeans(t *testing.T) {
	profiles := 1500
	if testing.Short() {
		profiles = 100
	}
	for seed := range profiles {
		r := chooser{rand.New(rand.NewPCG(uint64(seed), 1))}
		s := r.profile()
		f := compile(t, s)
		for _, c := range r.calls(s, 60) {
			same(t, s, f, c)
		}
	}
}

// The same, with profiles that a fuzzer makes of other profiles.
func FuzzProfile(f *testing.F) {
	for seed := range uint64(20) {
		text, err := json.Marshal(chooser{rand.New(rand.NewPCG(seed, 2))}.profile())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, seed)
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		s := &specs.LinuxSeccomp{}
		if json.Unmarshal(text, s) != nil {
			return
		}
		filter, _, err := seccomp.Compile(s)
		if err != nil {
			return
		}
		if err := check(filter.Program); err != nil {
			t.Fatalf("%s: the kernel would refuse it: %v\n%s", text, err, filter)
		}
		for _, c := range (chooser{rand.New(rand.NewPCG(seed, 3))}).calls(s, 20) {
			same(t, s, filter, c)
		}
	})
}

// A profile with many conditions is longer than a conditional jump can reach:
// from there on there are steps in between, and what is decided stays the same.
func TestJumpsReachAnyDistance(t *testing.T) {
	native := nativeArch().Calls
	all := make([]string, 0, len(native))
	for name := range native {
		if name != "write" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	for _, count := range []int{8, 20, 31, 32, 33, 60, 100, 150} {
		s := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86}}
		for i, name := range all[:count] {
			errno := uint(i)
			s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{
				Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &errno,
				Args: []specs.LinuxSeccompArg{{Index: 1, Op: specs.OpGreaterThan, Value: uint64(i) << 31}},
			})
		}
		f := compile(t, s)
		for _, a := range arches()[:2] {
			for i, name := range all[:count] {
				for _, value := range []uint64{0, 1, uint64(i) << 31, uint64(i)<<31 + 1, 1 << 62} {
					same(t, s, f, call{a.Calls[name], a.Audit, [6]uint64{1: value}})
				}
			}
		}
	}
}

// The common case costs few instructions, and no look at the arguments, so that
// the kernel can remember it: see program.go.
func TestAnAllowedCallIsDecidedByItsNumberAlone(t *testing.T) {
	f := compile(t, large())
	native := nativeArch()
	for _, name := range []string{"read", "write", "getppid", "openat", "futex", "epoll_wait", "close_range"} {
		v, steps, looked := run(f.Program, call{number: native.Calls[name], audit: native.Audit})
		if v != unix.SECCOMP_RET_ALLOW || looked || steps > 14 {
			t.Errorf("%s: verdict %#x after %d instructions, looked at more: %v", name, v, steps, looked)
		}
	}
}
