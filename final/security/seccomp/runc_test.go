package seccomp_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// The judgement of others: runc makes a container with a profile, and the kernel
// gives the filter back that libseccomp has made and runc installed
// (PTRACE_SECCOMP_GET_FILTER in ptrace(2)). Both filters decide alike.

// known takes from a profile what the libseccomp of 2022 does not know, for which
// no two compilers can agree: calls that are newer than Linux 5.17.
func known(s *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	newer := func(name string) bool {
		number := nativeArch().Calls[name] // new calls have the same number everywhere
		return number > 450 || slices.Contains([]string{"uretprobe", "uprobe", "get_tls"}, name)
	}
	for i := range s.Syscalls {
		s.Syscalls[i].Names = slices.DeleteFunc(s.Syscalls[i].Names, newer)
	}
	return s
}

// runcsFilter runs a container with runc and returns the filter of its process.
func runcsFilter(t testing.TB, s *specs.LinuxSeccomp) []unix.SockFilter {
	t.Helper()
	testkit.Need(t, "runc", "busybox")
	dir, state := t.TempDir(), t.TempDir()
	do := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		log, err := os.OpenFile(filepath.Join(state, "log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600) // no pipe: the container would hold it
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%s: %v\n%s", cmd, err, text)
		}
	}
	do("runc", "spec", "--bundle", dir)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/rootfs/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	do("cp", busybox, dir+"/rootfs/bin/sleep")
	var spec specs.Spec
	text, err := os.ReadFile(dir + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	spec.Process.Args, spec.Process.Terminal, spec.Linux.Seccomp = []string{"sleep", "1000"}, false, s
	if text, err = json.Marshal(spec); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config.json", text, 0o600); err != nil {
		t.Fatal(err)
	}
	id, pidFile := fmt.Sprintf("skiff-seccomp-%d", os.Getpid()), filepath.Join(state, "pid")
	do("runc", "--root", state, "run", "--detach", "--bundle", dir, "--pid-file", pidFile, id)
	defer do("runc", "--root", state, "delete", "--force", id)
	text, err = os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return filterOf(t, pid)
}

// filterOf asks the kernel for the filter of a process.
func filterOf(t testing.TB, pid int) []unix.SockFilter {
	t.Helper()
	const secCompGetFilter = 0x420c // PTRACE_SECCOMP_GET_FILTER
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	filter := make([]unix.SockFilter, 4096)
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, secCompGetFilter, uintptr(pid), 0, uintptr(unsafe.Pointer(&filter[0])), 0, 0)
	if err := unix.PtraceDetach(pid); err != nil {
		t.Fatal(err)
	}
	if errno != 0 {
		t.Fatalf("get the filter of process %d: %v", pid, errno)
	}
	return filter[:n]
}

func TestRuncsFilterDecidesAlike(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	for name, s := range map[string]*specs.LinuxSeccomp{"podman": known(podmans(t)), "docker": known(large())} {
		t.Run(name, func(t *testing.T) {
			theirs, ours := runcsFilter(t, s), compile(t, s).Program
			t.Logf("instructions: %d of libseccomp and runc, %d of skiff", len(theirs), len(ours))
			compared := 0
			compare := func(c call) {
				want, _, _ := run(theirs, c)
				got, _, _ := run(ours, c)
				compared++
				if got != want {
					t.Errorf("call %+v: runc's filter says %#x, skiff's %#x", c, want, got)
				}
			}
			for _, a := range arches() {
				for number := range uint32(600) {
					for _, arg := range []uint64{0, 8, 9, 16, 40, 0x20008, 0x20000, 0xffffffff, 1 << 40, 0x7e020000, 0x10000} {
						compare(call{a.Calls["read"]&^0xfff | number, a.Audit, [6]uint64{arg, arg, 9}})
						compare(call{a.Calls["read"]&^0xfff | number, a.Audit, [6]uint64{arg, 0, arg}})
					}
				}
			}
			for _, c := range (chooser{rand.New(rand.NewPCG(1, 1))}).calls(s, 3000) {
				compare(c)
			}
			t.Logf("%d calls compared", compared)
		})
	}
}
