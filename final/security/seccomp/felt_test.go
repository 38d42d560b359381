package seccomp_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/launch/launchtest"
)

// What a process feels of a filter, on the kernel that runs here. The process is a
// plan: it promises to gain no privileges, installs the filter, and calls.

// filtered is the plan that makes these calls under the filter of a profile.
func filtered(t testing.TB, profile string, calls ...plan.Step) *plan.Plan {
	t.Helper()
	f := compile(t, parse(t, profile))
	p := &plan.Plan{}
	p.Add(plan.NoNewPrivileges(), plan.Seccomp(f.Program, f.Flags))
	p.Add(calls...)
	p.Add(plan.Exit(0))
	return p
}

// runPlan runs a plan in a process and returns how that has ended.
func runPlan(t testing.TB, p *plan.Plan) (unix.WaitStatus, error) {
	t.Helper()
	process, err := launch.Start(p, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	return process.Wait()
}

// entry is a profile that allows all but mkdirat, for which it has this.
func entry(rest string) string {
	return `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdirat"], ` + rest + `}]}`
}

func TestEachActionIsFelt(t *testing.T) {
	for _, c := range []struct {
		action string
		errno  unix.Errno // that the call fails with; 0: it is made
		killed bool
	}{
		{action: `"action": "SCMP_ACT_ALLOW"`},
		{action: `"action": "SCMP_ACT_LOG"`},
		{action: `"action": "SCMP_ACT_ERRNO"`, errno: unix.EPERM},
		{action: `"action": "SCMP_ACT_ERRNO", "errnoRet": 95`, errno: unix.EOPNOTSUPP},
		{action: `"action": "SCMP_ACT_TRACE"`, errno: unix.ENOSYS}, // nobody traces
		{action: `"action": "SCMP_ACT_TRAP"`, killed: true},        // nobody handles SIGSYS
		{action: `"action": "SCMP_ACT_KILL"`, killed: true},
		{action: `"action": "SCMP_ACT_KILL_THREAD"`, killed: true},
		{action: `"action": "SCMP_ACT_KILL_PROCESS"`, killed: true},
	} {
		t.Run(c.action, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "made")
			status, err := runPlan(t, filtered(t, entry(c.action), plan.Mkdirat(plan.CWD, dir, 0o700)))
			_, missing := os.Stat(dir)
			switch {
			case c.killed && (!status.Signaled() || status.Signal() != unix.SIGSYS):
				t.Errorf("it ended with %v, not by SIGSYS; %v", status, err)
			case c.killed && (err == nil || !strings.Contains(err.Error(), "was killed before its program: make directory")):
				t.Errorf("the error does not name the step: %v", err)
			case !c.killed && c.errno != 0 && !errors.Is(err, c.errno):
				t.Errorf("it failed with %v, want %v", err, c.errno)
			case !c.killed && c.errno == 0 && (err != nil || missing != nil):
				t.Errorf("the call was not made: %v, %v", err, missing)
			case (c.killed || c.errno != 0) && missing == nil:
				t.Error("the call was made all the same")
			}
		})
	}
}

// With errno 0 the kernel returns success and does nothing.
func TestErrnoZeroIsALie(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	_, err := runPlan(t, filtered(t, entry(`"action": "SCMP_ACT_ERRNO", "errnoRet": 0`), plan.Mkdirat(plan.CWD, dir, 0o700)))
	if _, missing := os.Stat(dir); err != nil || missing == nil {
		t.Errorf("error %v; made: %v", err, missing == nil)
	}
}

// The arguments are compared as the kernel gets them, all 64 bits of them.
func TestMust32ArgumentsAreFelt(t *testing.T) {
	const umask = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["umask"], "action": "SCMP_ACT_ERRNO", "args": [%s]}]}`
	for args, refused := range map[string]bool{
		`{"index": 0, "value": 18, "op": "SCMP_CMP_EQ"}`:                                                          true,
		`{"index": 0, "value": 4294967314, "op": "SCMP_CMP_EQ"}`:                                                  false, // 1<<32 | 18
		`{"index": 0, "value": 17, "op": "SCMP_CMP_GT"}`:                                                          true,
		`{"index": 0, "value": 18, "op": "SCMP_CMP_GT"}`:                                                          false,
		`{"index": 0, "value": 16, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}`:                                   true,
		`{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 18, "op": "SCMP_CMP_EQ"}`:           true,
		`{"index": 0, "value": 18, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 12345678901, "op": "SCMP_CMP_EQ"}`: false,
	} {
		_, err := runPlan(t, filtered(t, fmt.Sprintf(umask, args), plan.Umask(0o22)))
		if refused != errors.Is(err, unix.EPERM) || !refused && err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// A call that is newer than all that the profile names does not exist, so that
// programs use the older one; an older one that it does not name is forbidden.
func TestMust32CallsNewerThanTheProfileDoNotExist(t *testing.T) {
	const profile = `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["exit_group", "openat2"], "action": "SCMP_ACT_ALLOW"}]}`
	if _, err := runPlan(t, filtered(t, profile, plan.Faccessat2(plan.CWD, "/"))); !errors.Is(err, unix.ENOSYS) {
		t.Errorf("faccessat2, which is newer than openat2: %v, want ENOSYS", err)
	}
	if _, err := runPlan(t, filtered(t, profile, plan.Setsid())); !errors.Is(err, unix.EPERM) {
		t.Errorf("setsid, which is older: %v, want EPERM", err)
	}
	if status, err := runPlan(t, filtered(t, profile)); err != nil || status != 0 {
		t.Errorf("exit_group, which is allowed: %v, %v", status, err)
	}
}

// strace sees the filter as the plan prints it.
func TestThePrintedFilterIsWhatStraceSees(t *testing.T) {
	if os.Getenv("RUN_FILTERED") != "" {
		runtime.LockOSThread()
		_ = plan.Run(filtered(t, entry(`"action": "SCMP_ACT_ERRNO"`)))
		t.Fatal("exit_group came back")
	}
	testkit.Need(t, "strace")
	t.Setenv("RUN_FILTERED", "1")
	traces := launchtest.Strace(t, "", os.Args[0], "-test.run=^"+t.Name()+"$")
	want := filtered(t, entry(`"action": "SCMP_ACT_ERRNO"`)).Steps()[1].String()
	if !strings.Contains(strings.Join(traces, "\n"), want+" ") {
		t.Errorf("strace does not show: %s", want)
	}
}

// elf writes a program that consists of these instructions and then exits with
// status 0, and returns its path: elf(5).
func elf(t testing.TB, instructions ...byte) string {
	t.Helper()
	exit := []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05} // xor edi, edi; mov eax, 60; syscall
	code := append(instructions, exit...)
	const base, headers = 0x400000, 64 + 56
	var b []byte
	put := func(values ...any) {
		for _, v := range values {
			b, _ = binary.Append(b, binary.LittleEndian, v) // integers always can
		}
	}
	put([]byte("\x7fELF\x02\x01\x01"), [9]byte{}, uint16(2), uint16(62), uint32(1), uint64(base+headers), uint64(64), uint64(0),
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0))
	size := uint64(headers + len(code))
	put(uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), code)
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// The same kernel can be called in other ways. A profile that does not list them
// ends whoever tries: else getppid(2) by int 0x80 (number 64, which is semget(2) by
// syscall) would be a way around the filter. x86 only.
func TestOtherWaysIntoTheKernelAreShut(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		return
	}
	getppid32 := elf(t, 0xb8, 64, 0, 0, 0, 0xcd, 0x80)      // mov eax, 64; int 0x80
	getppidX32 := elf(t, 0xb8, 110, 0, 0, 0x40, 0x0f, 0x05) // mov eax, 0x4000006e; syscall
	for _, way := range []way{
		{"SCMP_ARCH_X86", call{number: 64, audit: unix.AUDIT_ARCH_I386}, unix.SIGSEGV, getppid32},
		{"SCMP_ARCH_X32", call{number: 0x4000006e, audit: unix.AUDIT_ARCH_X86_64}, 0, getppidX32},
	} {
		t.Run(way.arch, way.test)
	}
	const minusOne = 0xff
	noCall := elf(t, 0xb8, minusOne, minusOne, minusOne, minusOne, 0x0f, 0x05) // mov eax, -1; syscall
	if got := endOf(t, filtered(t, allAllowed(""), execute(noCall))); got != "status 0" {
		t.Errorf("the number -1, which a tracer gives to a call that is not to be made: %s", got)
	}
}

// A way is one into the kernel. A kernel without int 0x80 (CONFIG_IA32_EMULATION,
// ia32_emulation=off) has shut it itself, for everybody.
type way struct {
	arch    string
	call    call        // as a filter sees it
	shut    unix.Signal // how a kernel without it ends who tries; 0: all have it
	program string
}

// test asserts that a profile which lists the way leaves it open, and any other shuts
// it; or that no profile opens it, where the kernel has shut it. What the filter would
// say is asked of its program, on every kernel.
func (w way) test(t *testing.T) {
	unlisted, listed := allAllowed(""), allAllowed(`"`+w.arch+`"`)
	for profile, want := range map[string]uint32{unlisted: unix.SECCOMP_RET_KILL_THREAD, listed: unix.SECCOMP_RET_ALLOW} {
		if got, _, _ := run(compile(t, parse(t, profile)).Program, w.call); got != want {
			t.Errorf("%s: the filter says %#x, want %#x", profile, got, want)
		}
	}
	free := &plan.Plan{}
	free.Add(execute(w.program))
	without, wantUnlisted, wantListed := endOf(t, free), "signal SIGSYS", "status 0"
	switch {
	case w.shut != 0 && without == "signal "+unix.SignalName(w.shut):
		wantUnlisted, wantListed = without, without
	case without != "status 0":
		t.Fatalf("without a filter: %s", without)
	}
	for profile, want := range map[string]string{unlisted: wantUnlisted, listed: wantListed} {
		if got := endOf(t, filtered(t, profile, execute(w.program))); got != want {
			t.Errorf("%s: %s, want %s; without a filter %s", profile, got, want, without)
		}
	}
}

// allAllowed is a profile that allows all calls of these architectures and the native one.
func allAllowed(arches string) string {
	return `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": [` + arches + `]}`
}

// execute is the step that begins a program.
func execute(program string) plan.Step { return plan.Execve(program, []string{program}, nil) }

// endOf runs a plan and says how it has ended.
func endOf(t *testing.T, p *plan.Plan) string {
	t.Helper()
	status, err := runPlan(t, p)
	switch {
	case err != nil:
		t.Fatal(err)
	case status.Signaled():
		return "signal " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("status %d", status.ExitStatus())
}

// notification and response are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id           uint64
	value        int64
	error        int32
	continuation uint32
}

// answer waits for a notification on a listener and answers it.
func answer(t testing.TB, listener int, with response) (n notification) {
	t.Helper()
	control := func(request uintptr, what unsafe.Pointer) {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), request, uintptr(what))
		if errno != 0 {
			t.Errorf("ioctl %#x: %v", request, errno)
		}
	}
	poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	if ready, err := unix.Poll(poll, int((20 * time.Second).Milliseconds())); err != nil || ready != 1 {
		t.Fatalf("no notification: %v", err)
	}
	control(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n))
	with.id = n.id
	control(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&with))
	return n
}

// An agent gets the call and says what becomes of it: a result, an errno, or that
// the kernel is to make it.
func TestAnAgentDecides(t *testing.T) {
	native := nativeArch().Calls
	for _, c := range []struct {
		name string
		with response
		want error
		made bool
	}{
		{"a result", response{value: 0}, nil, false},
		{"an errno", response{error: -int32(unix.EXDEV)}, unix.EXDEV, false},
		{"continue", response{continuation: 1}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pipe [2]int
			if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(pipe[0])
			f := compile(t, parse(t, strings.Replace(entry(`"action": "SCMP_ACT_NOTIFY"`), "{", `{"listenerPath": "/agent", `, 1)))
			dir := filepath.Join(t.TempDir(), "made")
			p := &plan.Plan{}
			listener := p.Register("listener")
			p.Add(plan.NoNewPrivileges(), plan.Seccomp(f.Program, f.Flags).Into(listener),
				plan.WriteRegister(plan.Descriptor{Number: pipe[1]}, listener), plan.Mkdirat(plan.CWD, dir, 0o750), plan.Exit(0))
			process, err := launch.Start(p, launch.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer process.Close()
			unix.Close(pipe[1])
			var told [8]byte
			if _, err := unix.Read(pipe[0], told[:]); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.PidfdGetfd(int(process.Pidfd().Fd()), int(told[0]), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			n := answer(t, fd, c.with)
			if n.number != int32(native["mkdirat"]) || n.args[2] != 0o750 || n.arch != nativeArch().Audit {
				t.Errorf("the agent saw %+v", n)
			}
			_, err = process.Wait()
			_, missing := os.Stat(dir)
			if !errors.Is(err, c.want) || c.made != (missing == nil) {
				t.Errorf("error %v, want %v; made: %v", err, c.want, missing == nil)
			}
		})
	}
}
