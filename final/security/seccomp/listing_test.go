package seccomp_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/security/seccomp"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
)

// parse reads a profile as it stands in a config.json.
func parse(t testing.TB, text string) *specs.LinuxSeccomp {
	t.Helper()
	s := &specs.LinuxSeccomp{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return s
}

// What the compiler makes of small profiles, for people to read.
func TestSmallProfilesAsPrograms(t *testing.T) {
	var b strings.Builder
	for _, c := range []struct{ about, profile string }{
		{"all but two calls", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
			{"names": ["reboot", "kexec_load"], "action": "SCMP_ACT_ERRNO"}]}`},
		{"four calls; what is newer than the last of them does not exist", `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
			{"names": ["read", "write", "exit_group", "clone3"], "action": "SCMP_ACT_ALLOW"}]}`},
		{"three ways into one kernel", `{"defaultAction": "SCMP_ACT_KILL_PROCESS",
			"architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [
			{"names": ["exit"], "action": "SCMP_ACT_ALLOW"}]}`},
		{"a condition, of 64 and of 32 bits", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
			{"names": ["personality"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 4294967295, "op": "SCMP_CMP_NE"}]}]}`},
		{"two conditions on one argument, and one on another", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
			{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 25, "args": [
				{"index": 1, "value": 21522, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 21519, "op": "SCMP_CMP_EQ"},
				{"index": 0, "value": 3, "op": "SCMP_CMP_LT"}]}]}`},
		{"bits of an argument", `{"defaultAction": "SCMP_ACT_LOG", "syscalls": [
			{"names": ["clone"], "action": "SCMP_ACT_TRACE", "errnoRet": 7, "args": [
				{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}`},
		{"a call that stands for many", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
			{"names": ["socket", "bind"], "action": "SCMP_ACT_ERRNO"}]}`},
	} {
		fmt.Fprintf(&b, "# %s\n\n%s\n", c.about, compile(t, parse(t, c.profile)))
	}
	testkit.Golden(t, b.String(), "programs.golden")
}

// Everything that a profile can have wrong, and what is said about it.
func TestMust32WhatIsWrongWithAProfile(t *testing.T) {
	var b strings.Builder
	for _, profile := range []string{
		`{}`,
		`{"defaultAction": "ALLOW"}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}`,
		`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}`,
		`{"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/agent"}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PARISC"]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_FUN"]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read", ""], "action": "SCMP_ACT_ERRNO"}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 0}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 70000}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 1, "op": "=="}]}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}, {"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "text"}`,
	} {
		_, _, err := seccomp.Compile(parse(t, profile))
		if err == nil {
			t.Errorf("nothing is said about %s", profile)
			continue
		}
		fmt.Fprintln(&b, profile)
		hint.Print(&b, "skiff", err)
		b.WriteByte('\n')
	}
	testkit.Golden(t, b.String(), "errors.golden")
}

// The kernel takes 4096 instructions. What does not fit is refused, not cut off.
func TestAProgramThatIsTooLongIsRefused(t *testing.T) {
	s := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	for i := range uint64(1500) {
		s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{
			Names: []string{"ioctl"}, Action: specs.ActErrno,
			Args: []specs.LinuxSeccompArg{{Index: 1, Op: specs.OpEqualTo, Value: i << 20}},
		})
	}
	_, _, err := seccomp.Compile(s)
	if err == nil || !strings.Contains(err.Error(), "BPF instructions, the kernel allows 4096") {
		t.Errorf("got %v", err)
	}
}

func TestANameThatNoKernelHasIsWarnedOfWhereItWasToRestrict(t *testing.T) {
	for profile, want := range map[string]string{
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ptrce", "breakpoint", "ptrace"], "action": "SCMP_ACT_ERRNO"}]}`: "[linux.seccomp: no architecture has a system call \"ptrce\": nothing is restricted by that name]",
		`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["ptrce"], "action": "SCMP_ACT_ALLOW"}]}`:                         "[]",
	} {
		_, warnings, err := seccomp.Compile(parse(t, profile))
		if got := fmt.Sprint(warnings); err != nil || got != want {
			t.Errorf("%s\ngot  %s, error %v\nwant %s", profile, got, err, want)
		}
	}
}

func TestFlags(t *testing.T) {
	const notify = `, "listenerPath": "/agent", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]`
	for text, want := range map[string]uint64{
		``:                                       4, // SPEC_ALLOW, where nothing is said
		`, "flags": null`:                        4,
		`, "flags": []`:                          0,
		`, "flags": ["SECCOMP_FILTER_FLAG_LOG"]`: 2,
		`, "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]`: 5,
		`, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]`:                      0, // nothing to wait for
		`, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]` + notify:             32 | 8,
		`, "flags": ["SECCOMP_FILTER_FLAG_TSYNC"]` + notify:                          1 | 8 | 16,
	} {
		f := compile(t, parse(t, `{"defaultAction": "SCMP_ACT_ALLOW"`+text+`}`))
		if f.Flags != want {
			t.Errorf("%s: got %#x, want %#x", text, f.Flags, want)
		}
		if f.Notifies() != strings.Contains(text, "NOTIFY") || f.Notifies() != (f.ListenerPath != "") {
			t.Errorf("%s: notifies %v, to %q", text, f.Notifies(), f.ListenerPath)
		}
	}
}

// Which calls a plan could not make under the filter, whatever the arguments.
func TestRefuses(t *testing.T) {
	f := compile(t, parse(t, `{"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/agent", "syscalls": [
		{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"names": ["execve"], "action": "SCMP_ACT_NOTIFY"}, {"names": ["capset"], "action": "SCMP_ACT_KILL"},
		{"names": ["close"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]}]}`))
	for call, want := range map[string]bool{"read": false, "execve": false, "close": false, "capset": true, "prctl": true} {
		if f.Refuses(call) != want {
			t.Errorf("%s: refused %v", call, !want)
		}
	}
}
