// The device filter of cgroup v2, tried by processes that open and make nodes.
// devices_test.go has what both versions have in common.

package cgroup_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/bpf"
	"skiff.example/stage03-cgroups/cgroup"
)

// filters returns the ids of the programs that are attached to the group.
func filters(t *testing.T, m *cgroup.Manager) []uint32 {
	t.Helper()
	group, err := os.Open(m.Paths()[""])
	must(t, err)
	defer group.Close()
	ids, err := bpf.DeviceFilters(int(group.Fd()))
	must(t, err)
	return ids
}

// attach attaches a program to the group in the way that others do.
func attach(t *testing.T, m *cgroup.Manager, name string, code ...bpf.Instruction) {
	t.Helper()
	p, err := bpf.LoadDeviceFilter(name, code)
	must(t, err)
	defer p.Close()
	group, err := os.Open(m.Paths()[""])
	must(t, err)
	defer group.Close()
	must(t, bpf.AttachDeviceFilter(int(group.Fd()), p, nil))
}

// tryNodes is a script that tries each access to each of the nodes, for each
// line that it reads, and prints those that are allowed.
const tryNodes = `cd %s
while read go; do
	for node in 1:3 1:7 5:0 5:2; do
		may() { ! ("$1") 2>&1 | grep -q "not permitted"; }
		read_() { : <$node; }; write_() { : >$node; }; both_() { : <>$node; }
		make_() { mknod made c ${node%%:*} ${node#*:} && rm made; }
		for try in read write both make; do may ${try}_ && printf '%%s ' $node-$try; done
	done
	echo
done`

// allowed says what the rules allow, in the same words. It is the sentence of
// the specification, written down: a later rule wins.
func allowed(rules []specs.LinuxDeviceCgroup) string {
	var out []string
	for _, node := range [][2]int64{{1, 3}, {1, 7}, {5, 0}, {5, 2}} {
		may := map[rune]bool{'r': true, 'w': true, 'm': true} // as in a new group
		for _, r := range rules {
			if r.Type == "b" || r.Major != nil && *r.Major != node[0] || r.Minor != nil && *r.Minor != node[1] {
				continue
			}
			for _, letter := range r.Access {
				may[letter] = r.Allow
			}
		}
		for _, try := range []struct {
			name string
			may  bool
		}{{"read", may['r']}, {"write", may['w']}, {"both", may['r'] && may['w']}, {"make", may['m']}} {
			if try.may {
				out = append(out, fmt.Sprintf("%d:%d-%s", node[0], node[1], try.name))
			}
		}
	}
	return strings.Join(out, " ")
}

// anyRules returns a list of rules, the first of which speaks of everything.
func anyRules(random *rand.Rand) []specs.LinuxDeviceCgroup {
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	number := func(numbers ...int64) *int64 {
		if n := numbers[random.IntN(len(numbers))]; n >= 0 {
			return &n
		}
		return nil
	}
	rules := []specs.LinuxDeviceCgroup{{Allow: random.IntN(2) == 0, Access: "rwm"}}
	for range random.IntN(8) {
		rules = append(rules, specs.LinuxDeviceCgroup{
			Allow: random.IntN(2) == 0, Type: pick("c", "c", "c", "b", "a", ""),
			Major: number(1, 5, -1), Minor: number(0, 2, 3, 7, -1),
			Access: pick("r", "w", "m", "rw", "wm", "rwm"),
		})
	}
	return rules
}

// Lists of rules, each put in the place of the last, against what processes
// get: order, wildcards, types, each access.
func TestTheFilterDoesWhatTheRulesSay(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, unified(t), "filter")
	nodes := t.TempDir()
	run(t, "cd "+nodes+"; for n in 1:3 1:7 5:0 5:2; do mknod $n c ${n%:*} ${n#*:}; done")
	shell := start(t, m, fmt.Sprintf(tryNodes, nodes))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 5 { // devicemeaning_test.go tries thousands, without a kernel
		rules := anyRules(random)
		must(t, m.Set(&specs.LinuxResources{Devices: rules}))
		shell.say("go")
		if got, want := shell.line(), allowed(rules); got != want {
			t.Errorf("list %d:%s\nallowed: %s\nwant:    %s", i, printed(rules), got, want)
		}
	}
}

// printed shows rules, one a line.
func printed(rules []specs.LinuxDeviceCgroup) string {
	number := func(n *int64) string {
		if n == nil {
			return "*"
		}
		return itoa(*n)
	}
	var out strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&out, "\n\t%v %q %s:%s %s", r.Allow, r.Type, number(r.Major), number(r.Minor), r.Access)
	}
	return out.String()
}

// What v1 cannot do (see TestARuleThatTheKernelWouldIgnoreIsAnError).
func TestTheFilterTakesOneDeviceOutOfARange(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, unified(t), "range")
	must(t, m.Set(devices(t, denyAll+`,{"allow":true,"type":"c","major":1,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":11,"access":"r"}`)))
	out := start(t, m, `head -c1 /dev/null && echo null; head -c1 /dev/kmsg; head -c1 /dev/ptmx`).rest()
	if !strings.HasPrefix(out, "null\n") || strings.Count(out, "Operation not permitted") != 2 {
		t.Errorf("%s", out)
	}
}

// There is always one program of ours, and the old one goes.
func TestAnUpdateReplacesTheFilter(t *testing.T) {
	testkit.HostUnchanged(t)
	h := unified(t)
	m := create(t, h, "update")
	must(t, m.Set(devices(t, denyAll)))
	first := filters(t, m)
	next := manager(t, h, "/skiff-test-update") // as another process would
	must(t, next.Set(devices(t, denyAll+`,{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}`)))
	second := filters(t, m)
	if len(first) != 1 || len(second) != 1 || first[0] == second[0] {
		t.Errorf("filters %v, after the update %v", first, second)
	}
	if out := start(t, m, ": </dev/null && echo null; : </dev/zero").rest(); !strings.HasPrefix(out, "null\n") || !strings.Contains(out, "not permitted") {
		t.Errorf("%s", out)
	}
	freed(t, first[0])

	// A list that does not say what holds for all others is none that replaces.
	err := m.Set(devices(t, `{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}`))
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(hint.Of(err), `{"allow": false, "access": "rwm"}`) {
		t.Errorf("error %v", err)
	}
	// Nor does an error change anything, or a limit of another kind.
	must(t, m.Set(&specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": "3"}}))
	if got := filters(t, m); !slices.Equal(got, second) {
		t.Errorf("filters %v, want %v", got, second)
	}
	must(t, m.Set(devices(t, `{"allow":true,"access":"rwm"}`)))
	if out := start(t, m, ": </dev/zero && echo zero").rest(); out != "zero" {
		t.Errorf("all is allowed: %s", out)
	}
}

func TestTheFilterGoesWithTheGroup(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, unified(t), "filtergone")
	must(t, m.Set(devices(t, denyAll)))
	ids := filters(t, m)
	must(t, m.Delete())
	freed(t, ids[0])
}

// freed waits until the kernel has no program with that id.
func freed(t *testing.T, id uint32) {
	t.Helper()
	eventually(t, "the kernel freed the program", func() bool {
		p, err := bpf.Open(id)
		if err != nil {
			return errors.Is(err, unix.ENOENT)
		}
		p.Close()
		return false
	})
}

// Rules that restrict nothing need no filter.
func TestNoFilterWhereAllIsAllowed(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, unified(t), "all")
	r := devices(t, `{"allow":true,"access":"rwm"}`)
	r.Devices = append(r.Devices, cgroup.DefaultDevices()...)
	must(t, m.Set(r))
	if ids := filters(t, m); len(ids) != 0 {
		t.Errorf("filters %v", ids)
	}
}

// Whoever lacks the privilege is told so, unless no filter is needed.
//
// The test runs itself again in a user namespace.
func TestAFilterNeedsPrivilege(t *testing.T) {
	if slices.Contains(os.Args, "unprivileged") {
		m := manager(t, &cgroup.Hierarchies{V2: detect(t).V2}, "/skiff-test-privilege")
		must(t, m.Set(devices(t, `{"allow":true,"access":"rwm"}`)))
		err := m.Set(devices(t, denyAll))
		if !errors.Is(err, unix.EPERM) || !strings.Contains(hint.Of(err), "CAP_SYS_ADMIN") {
			t.Errorf("error %v, hint %q", err, hint.Of(err))
		}
		return
	}
	testkit.HostUnchanged(t)
	create(t, unified(t), "privilege")
	again := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "unprivileged")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v: %s", err, out)
	}
}

// A program of another's, systemd's for instance, stays, and is asked too; so
// are those of the groups above.
func TestOthersFiltersStay(t *testing.T) {
	testkit.HostUnchanged(t)
	h := unified(t)
	above, m := create(t, h, "others"), create(t, h, "others/web")
	must(t, above.Set(devices(t, `{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":5,"access":"r"}`)))
	attach(t, m, "theirs", bpf.Set(bpf.R0, 1), bpf.Exit())
	theirs := filters(t, m)
	for range 2 {
		must(t, m.Set(devices(t, denyAll+`,{"allow":true,"type":"c","major":1,"access":"rwm"}`)))
	}
	if ids := filters(t, m); len(ids) != 2 || !slices.Contains(ids, theirs[0]) {
		t.Errorf("filters %v, want %d and one more", ids, theirs[0])
	}
	out := start(t, m, ": </dev/null && echo null; : </dev/zero").rest()
	if !strings.HasPrefix(out, "null\n") || !strings.Contains(out, "/dev/zero: Operation not permitted") {
		t.Errorf("%s", out)
	}
}

// Where v1 has the controller, it does the work, and the v2 group has no filter.
func TestOneVersionFiltersDevices(t *testing.T) {
	testkit.HostUnchanged(t)
	legacy(t)
	unified(t)
	m := create(t, detect(t), "hybrid")
	must(t, m.Set(devices(t, denyAll)))
	if ids := filters(t, m); len(ids) != 0 {
		t.Errorf("filters %v", ids)
	}
	want(t, m, "devices", "devices.list", "")
}

// A long list is not too complex for the verifier.
func TestAFilterOfManyRules(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, unified(t), "many")
	r := devices(t, denyAll)
	for i := range int64(600) {
		access := []string{"r", "w", "rw", "rwm"}[i%4]
		r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: i%3 != 0, Type: "c", Major: p(i / 4), Minor: p(i), Access: access})
	}
	must(t, m.Set(r))
}
