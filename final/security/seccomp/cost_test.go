package seccomp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
)

// What a filter costs each call of a program: a call that is allowed by its number,
// which the kernel remembers (see program.go), and one whose arguments it must look
// at every time. Compared with no filter, and with runc's for the same profile.
func BenchmarkACallUnderTheFilter(b *testing.B) {
	if text := os.Getenv("CALL_UNDER"); text != "" {
		callUnder(text)
	}
	testkit.HostUnchangedAsInit(b)
	profile := known(large())
	for _, c := range []struct {
		name   string
		filter []unix.SockFilter
	}{{"none", nil}, {"skiff", compile(b, profile).Program}, {"runc", runcsFilter(b, profile)}} {
		text, err := json.Marshal(c.filter)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() { // each time a process of its own: a filter stays
				cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^"+b.Name()[:strings.Index(b.Name(), "/")]+"$")
				cmd.Env = append(os.Environ(), "CALL_UNDER="+string(text))
				out, err := cmd.Output()
				var getppid, personality float64
				if _, scanned := fmt.Sscan(string(out), &getppid, &personality); err != nil || scanned != nil {
					b.Fatalf("%v %v: %s", err, scanned, out)
				}
				b.ReportMetric(getppid, "ns/getppid")
				b.ReportMetric(personality, "ns/personality")
			}
		})
	}
}

// callUnder installs a filter, prints how long two calls take, and ends.
func callUnder(text string) {
	runtime.LockOSThread()
	var filter []unix.SockFilter
	if err := json.Unmarshal([]byte(text), &filter); err != nil {
		panic(err)
	}
	if filter != nil {
		p := &plan.Plan{}
		p.Add(plan.NoNewPrivileges(), plan.Seccomp(filter, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW))
		if err := plan.Run(p); err != nil {
			panic(err)
		}
	}
	const times, query = 1_000_000, 0xffffffff
	began := time.Now()
	for range times {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	middle := time.Now()
	for range times {
		_, _, _ = unix.RawSyscall(unix.SYS_PERSONALITY, query, 0, 0)
	}
	fmt.Println(float64(middle.Sub(began).Nanoseconds())/times, float64(time.Since(middle).Nanoseconds())/times)
	os.Exit(0)
}
