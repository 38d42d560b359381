package security_test

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/security"
	"skiff.example/stage01-chroot/plan"
)

// steps is the plan of a process, and its warnings.
func steps(t *testing.T, process specs.Process) (text string, warnings []string) {
	t.Helper()
	p := &plan.Plan{}
	warnings, err := (&security.Rights{Process: &process}).Steps(p)
	if err != nil {
		t.Fatal(err)
	}
	return p.String(), warnings
}

// inOrder fails the test unless the text has these parts, in this order.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("%q does not come where it should in:\n%s", part, text)
		}
		rest = after
	}
}

// lacks fails the test if the text has one of these parts.
func lacks(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%q is in:\n%s", part, text)
		}
	}
}

func TestRightsAreGivenAwayInTheOnlyOrderThatWorks(t *testing.T) {
	text, _ := steps(t, specs.Process{
		User:    specs.User{UID: 33, GID: 44, AdditionalGids: []uint32{44, 60}},
		Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}},
		Capabilities: &specs.LinuxCapabilities{
			Bounding: []string{"CAP_KILL"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL"},
			Inheritable: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL"},
		},
		NoNewPrivileges: true,
	})
	inOrder(t, text,
		"prlimit64(0, RLIMIT_CORE",         // raising a hard limit needs CAP_SYS_RESOURCE
		"PR_CAPBSET_DROP, CAP_SYS_ADMIN",   // needs CAP_SETPCAP, effective
		"PR_SET_KEEPCAPS, 1",               // or setresuid would empty the permitted set
		"setgroups(2, [44, 60])",           // needs CAP_SETGID, which setresuid takes away
		"setresgid(44, 44, 44)",            // as well
		"setresuid(33, 33, 33)",            // as late as can be
		"capset(", "permitted=1<<CAP_KILL", // after the change of user, which changes the sets
		"PR_CAP_AMBIENT_CLEAR_ALL",
		"PR_CAP_AMBIENT_RAISE, CAP_KILL", // must be permitted and inheritable by now
		"PR_SET_NO_NEW_PRIVS, 1",
	)
	lacks(t, text, "PR_CAPBSET_DROP, CAP_KILL")
}

func TestRootKeepsNothingAcrossAChangeOfUser(t *testing.T) {
	text, _ := steps(t, specs.Process{})
	lacks(t, text, "PR_SET_KEEPCAPS", "PR_SET_NO_NEW_PRIVS", "PR_CAP_AMBIENT_RAISE")
	// Without groups of its own it has none: not the caller's (CVE-2022-2989).
	inOrder(t, text, "setgroups(0, NULL)", "setresuid(0, 0, 0)")
}

// A configuration without capabilities gives none.
func TestNoCapabilitiesMeansNone(t *testing.T) {
	text, warnings := steps(t, specs.Process{})
	inOrder(t, text, "PR_CAPBSET_DROP, CAP_CHOWN", "PR_CAPBSET_DROP, CAP_SYS_ADMIN", "PR_CAPBSET_DROP, CAP_CHECKPOINT_RESTORE",
		"effective=0, permitted=0, inheritable=0")
	if len(warnings) > 0 {
		t.Errorf("it warns: %q", warnings)
	}
}

// runtime-spec config.md: capabilities that the kernel does not have are
// warned of, and no error.
func TestAnUnknownCapabilityIsAWarning(t *testing.T) {
	for _, name := range []string{"CAP_FLY", "KILL", "CAP_", "", "41", "CAP_63"} {
		text, warnings := steps(t, specs.Process{Capabilities: &specs.LinuxCapabilities{Permitted: []string{name, "CAP_KILL"}}})
		if len(warnings) != 1 || !strings.Contains(warnings[0], "capability "+name+" is not known") {
			t.Errorf("%q: warnings %q", name, warnings)
		}
		inOrder(t, text, "effective=0, permitted=1<<CAP_KILL, inheritable=0")
	}
}

// CVE-2022-29162: nothing becomes inheritable because it is to be ambient. The
// kernel's rule is that an ambient capability is permitted and inheritable.
func TestAmbientIsOnlyWhatIsPermittedAndInheritable(t *testing.T) {
	const kill, chown, fowner = "CAP_KILL", "CAP_CHOWN", "CAP_FOWNER"
	text, _ := steps(t, specs.Process{Capabilities: &specs.LinuxCapabilities{
		Permitted:   []string{kill, chown},
		Inheritable: []string{kill, fowner},
		Ambient:     []string{kill, chown, fowner},
	}})
	inOrder(t, text, "permitted=1<<CAP_CHOWN|1<<CAP_KILL, inheritable=1<<CAP_FOWNER|1<<CAP_KILL", "PR_CAP_AMBIENT_RAISE, CAP_KILL")
	lacks(t, text, "PR_CAP_AMBIENT_RAISE, CAP_CHOWN", "PR_CAP_AMBIENT_RAISE, CAP_FOWNER")
	text, _ = steps(t, specs.Process{Capabilities: &specs.LinuxCapabilities{Permitted: []string{kill}, Ambient: []string{kill}}})
	inOrder(t, text, "permitted=1<<CAP_KILL, inheritable=0")
	lacks(t, text, "PR_CAP_AMBIENT_RAISE")
}

func TestResourceLimitsThatCannotBeAreRefused(t *testing.T) {
	for _, c := range []struct {
		want   string
		limits []specs.POSIXRlimit
	}{
		{`rlimit "RLIMIT_FUN": no such resource`, []specs.POSIXRlimit{{Type: "RLIMIT_FUN"}}},
		{`rlimit "": no such resource`, []specs.POSIXRlimit{{}}},
		{`rlimit "RLIMIT_CORE" is set twice`, []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_CPU"}, {Type: "RLIMIT_CORE"}}},
		{`rlimit "RLIMIT_CORE": the soft limit 2 is above the hard limit 1`, []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}}},
	} {
		_, err := (&security.Rights{Process: &specs.Process{Rlimits: c.limits}}).Steps(&plan.Plan{})
		if err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

// Go raises the soft limit of open files when it starts. What the container
// gets is what the configuration says, or what there was before.
func TestTheLimitOfOpenFilesIsNotTheOneThatGoHasRaised(t *testing.T) {
	text, _ := steps(t, specs.Process{Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 7, Hard: 8}}})
	inOrder(t, text, "RLIMIT_NOFILE, {rlim_cur=7, rlim_max=8}")
	if strings.Count(text, "RLIMIT_NOFILE") != 1 {
		t.Errorf("it is set more than once:\n%s", text)
	}
	var before, raised unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	raised = unix.Rlimit{Cur: before.Max - 1, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}()
	text, _ = steps(t, specs.Process{})
	inOrder(t, text, "RLIMIT_NOFILE, {rlim_cur=")
}
