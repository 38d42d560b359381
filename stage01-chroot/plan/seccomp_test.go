package plan_test

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// A plan with a filter of every instruction that filters are made of, and every
// verdict. The kernel installs none of them: their flags are nonsense, or exclude
// each other.
func filters() *plan.Plan {
	const nonsense = 1<<20 | unix.SECCOMP_FILTER_FLAG_LOG
	every := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 4},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AUDIT_ARCH_X86_64, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 10},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: 255, Jt: 10, Jf: 255},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 1, Jf: 1},
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 300},
		{Code: unix.BPF_JMP | unix.BPF_JA},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xff00},
		{Code: unix.BPF_RET | unix.BPF_K},
	}
	var verdicts []unix.SockFilter
	for _, word := range []uint32{
		unix.SECCOMP_RET_KILL_PROCESS, unix.SECCOMP_RET_TRAP, unix.SECCOMP_RET_ERRNO, unix.SECCOMP_RET_ERRNO | 38, unix.SECCOMP_RET_USER_NOTIF,
		unix.SECCOMP_RET_TRACE, unix.SECCOMP_RET_TRACE | 1, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_ALLOW,
	} {
		verdicts = append(verdicts, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: word})
	}
	p := &plan.Plan{}
	p.Add(plan.Seccomp(every, nonsense), plan.Seccomp(verdicts, nonsense|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW))
	p.Add(plan.Seccomp(nil, 0), plan.Seccomp(verdicts, unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER))
	p.Add(plan.Seccomp(nil, 1<<6-1), plan.WriteRegister(plan.Descriptor{Number: 987}, p.Register("listener")))
	return p
}

func TestASeccompFilterIsPrintedAsStraceSeesIt(t *testing.T) {
	if os.Getenv("RUN_EVERY_CALL") != "" {
		runtime.LockOSThread()
		for _, s := range filters().Steps() {
			single := filters() // has the register
			*single = *single.Only(s)
			_ = plan.Run(single) // all fail, on purpose
		}
		return
	}
	seen := traceOf(t)
	for _, s := range filters().Steps() {
		if want := s.Text(numbers); !strings.Contains(seen, want+" ") {
			t.Errorf("printed: %s\nstrace:  %s", want, nearest(seen, s.Call()))
		}
	}
}

// A container's filter has hundreds of instructions: people see how many.
func TestALongFilterIsPrintedShort(t *testing.T) {
	p := &plan.Plan{}
	p.Add(plan.Seccomp(slices.Repeat([]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}, 500), 0))
	const kill = "BPF_STMT(BPF_RET|BPF_K, SECCOMP_RET_KILL_THREAD)"
	want := "seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=500, filter=[" + kill + ", " + kill + ", ...]})\n"
	if got := p.String(); !strings.Contains(got, want) {
		t.Errorf("got  %swant %s", got, want)
	}
}

// A register can be written to a pipe as it is: whoever reads learns the number.
func TestARegisterIsTold(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	p := &plan.Plan{}
	fd := p.Register("directory")
	p.Add(
		plan.Openat2(plan.CWD, "/", unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}).Into(fd),
		plan.WriteRegister(plan.Descriptor{Number: ends[1]}, fd),
	)
	if err := plan.Run(p); err != nil {
		t.Fatal(err)
	}
	var told [16]byte
	n, err := unix.Read(ends[0], told[:])
	if err != nil || n != 8 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	number := int(told[0])
	defer unix.Close(number)
	var st unix.Stat_t
	if err := unix.Fstat(number, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("descriptor %d: %v, mode %o", number, err, st.Mode)
	}
}
