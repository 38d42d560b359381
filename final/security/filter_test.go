package security_test

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/security"
	"skiff.example/final/security/seccomp"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// withFilter is the plan of a process with a filter, up to its program.
func withFilter(t *testing.T, process specs.Process, profile specs.LinuxSeccomp) (text string, err error) {
	t.Helper()
	filter, _, err := seccomp.Compile(&profile)
	if err != nil {
		t.Fatal(err)
	}
	r := security.Rights{
		Process: &process, Filter: filter,
		Handover: &security.Handover{Parent: plan.Descriptor{Number: 7, Name: "parents"}, Child: plan.Descriptor{Number: 8, Name: "childs"}},
	}
	p := &plan.Plan{}
	if _, err := r.Steps(p); err != nil {
		t.Fatal(err)
	}
	p.Add(plan.ReadByte(plan.Descriptor{Number: 9, Name: "start"}, 's'))
	r.LastSteps(p)
	p.Add(plan.Execve("/bin/true", nil, nil))
	return p.String(), r.Check(p)
}

// allowAll is a profile with nothing but these entries.
func allowAll(entries ...specs.LinuxSyscall) specs.LinuxSeccomp {
	return specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: entries, ListenerPath: "/agent"}
}

// The filter takes no_new_privs, and then comes last; or CAP_SYS_ADMIN, and then
// comes as late as that is there.
func TestMust17WhereTheFilterComes(t *testing.T) {
	user := specs.Process{User: specs.User{UID: 33, GID: 44}, Capabilities: &specs.LinuxCapabilities{
		Permitted: []string{"CAP_KILL"}, Inheritable: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL"},
	}}
	text, err := withFilter(t, user, allowAll())
	inOrder(t, text,
		"setresuid(33, 33, 33)",
		"effective=1<<CAP_SYS_ADMIN, permitted=1<<CAP_KILL|1<<CAP_SYS_ADMIN, inheritable=1<<CAP_KILL",
		"seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, {len=",
		"effective=0, permitted=1<<CAP_KILL, inheritable=1<<CAP_KILL",
		"PR_CAP_AMBIENT_RAISE, CAP_KILL",
		"read(start",
		"execve(",
	)
	if err != nil || strings.Count(text, "seccomp(") != 1 {
		t.Errorf("%v\n%s", err, text)
	}
	user.NoNewPrivileges = true
	text, err = withFilter(t, user, allowAll())
	inOrder(t, text, "setresuid(33, 33, 33)", "capset(", "PR_CAP_AMBIENT_RAISE, CAP_KILL", "PR_SET_NO_NEW_PRIVS", "read(start", "seccomp(", "execve(")
	lacks(t, text, "CAP_SYS_ADMIN, permitted")
	if err != nil || strings.Count(text, "seccomp(") != 1 {
		t.Errorf("%v\n%s", err, text)
	}
	text, err = withFilter(t, specs.Process{}, allowAll())
	inOrder(t, text, "setresuid(0, 0, 0)", "seccomp(", "capset(", "read(start", "execve(")
	if err != nil || strings.Count(text, "capset(") != 1 {
		t.Errorf("root needs no step for CAP_SYS_ADMIN: %v\n%s", err, text)
	}
}

// The listener gets to the parent while create is there to take it, before start.
func TestMust32TheListenerIsHandedOverBeforeStart(t *testing.T) {
	for _, noNewPrivileges := range []bool{true, false} {
		text, err := withFilter(t, specs.Process{NoNewPrivileges: noNewPrivileges}, allowAll(specs.LinuxSyscall{Names: []string{"mkdir"}, Action: specs.ActNotify}))
		inOrder(t, text,
			"close(parents)",
			"seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW|SECCOMP_FILTER_FLAG_NEW_LISTENER, {len=", " = listener",
			"write(childs, &listener, 8)",
			`read(childs, "t", 1)`,
			"read(start",
			"execve(",
		)
		if err != nil || strings.Count(text, "seccomp(") != 1 {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

// What a filter would do to the rest of the plan is known before there is a process.
func TestAFilterThatThePlanCannotPassIsRefused(t *testing.T) {
	refuse := func(name string, action specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) specs.LinuxSeccomp {
		return allowAll(specs.LinuxSyscall{Names: []string{name}, Action: action, Args: args})
	}
	for _, c := range []struct {
		profile         specs.LinuxSeccomp
		noNewPrivileges bool
		want, hint      string
	}{
		{refuse("execve", specs.ActKillProcess), true, `linux.seccomp refuses execve, which is needed after it to execute "/bin/true"`, "allow it in the profile"},
		{refuse("read", specs.ActErrno), true, "", ""},
		{
			refuse("read", specs.ActErrno), false, "linux.seccomp refuses read, which is needed after it to wait at start",
			"allow it in the profile, or set process.noNewPrivileges: then the filter comes last",
		},
		{specs.LinuxSeccomp{DefaultAction: specs.ActErrno}, true, `linux.seccomp refuses execve, which is needed after it to execute "/bin/true"`, "allow it in the profile"},
		{refuse("execve", specs.ActLog), true, "", ""},
		{refuse("execve", specs.ActTrace), true, "", ""}, // a tracer may let it through
		{refuse("execve", specs.ActKill, specs.LinuxSeccompArg{Op: specs.OpEqualTo}), true, "", ""},
	} {
		_, err := withFilter(t, specs.Process{NoNewPrivileges: c.noNewPrivileges}, c.profile)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want || hint.Of(err) != c.hint {
			t.Errorf("got  %s\nhint %s\nwant %s\nhint %s", got, hint.Of(err), c.want, c.hint)
		}
	}
}
