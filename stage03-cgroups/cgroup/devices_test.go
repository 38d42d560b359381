// The device rules, tried by processes that open and make nodes.

package cgroup_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// devices reads rules as they stand in a config.json.
func devices(t *testing.T, text string) *specs.LinuxResources {
	t.Helper()
	var r specs.LinuxResources
	must(t, json.Unmarshal([]byte(`{"devices":[`+text+`]}`), &r))
	return &r
}

// denyAll is the one rule that `runc spec` writes.
const denyAll = `{"allow":false,"access":"rwm"}`

func TestTheDefaultDevicesAndNoOthers(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		m := create(t, h, "devices")
		r := devices(t, denyAll)
		r.Devices = append(r.Devices, cgroup.DefaultDevices()...)
		must(t, m.Set(r))

		dir := t.TempDir()
		out := start(t, m, `cd `+dir+`
			for d in null zero full random urandom; do head -c1 /dev/$d >/dev/null && echo $d; done
			mknod kmsg c 1 11 && mknod disk b 254 0 && echo mknod
			cat kmsg; head -c1 disk; head -c1 /dev/kmsg`).rest()
		lines := strings.Split(out, "\n")
		if got := strings.Join(lines[:6], " "); got != "null zero full random urandom mknod" {
			t.Errorf("allowed: %q", got)
		}
		if n := strings.Count(out, "Operation not permitted"); n != 3 || len(lines) != 9 {
			t.Errorf("%d of 3 were refused: %q", n, lines[6:])
		}
	})
}

func TestALaterRuleWins(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "rules")
	for _, test := range []struct{ rules, list string }{
		{denyAll, ""},
		{denyAll + `,{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":3,"access":"w"}`, "c 1:3 rm"},
		{`{"allow":true,"type":"c","major":10,"access":"r"}`, "c 1:3 rm\nc 10:* r"},
		{denyAll + `,{"allow":true,"access":"m"}`, "c *:* m\nb *:* m"}, // not "a": that would allow everything
		{denyAll + `,{"allow":true,"type":"a","major":8,"minor":1,"access":"r"}`, "c 8:1 r\nb 8:1 r"},
		{denyAll + `,{"allow":true,"type":"a","access":"mwr"}`, "a *:* rwm"},
	} {
		must(t, m.Set(devices(t, test.rules)))
		got := strings.Split(run(t, "cat "+m.Paths()["devices"]+"/devices.list"), "\n")
		want := strings.Split(test.list, "\n")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s\nthe list is %q, want %q", test.rules, got, want)
		}
	}
}

// The kernel says nothing when it cannot take one device out of a range.
func TestARuleThatTheKernelWouldIgnoreIsAnError(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "ignored")
	for _, rules := range []string{
		denyAll + `,{"allow":true,"type":"c","major":1,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":11,"access":"r"}`,
		`{"allow":false,"type":"c","major":1,"minor":11,"access":"r"}`, // the group still has c 1:* from the rules below
	} {
		must(t, m.Set(devices(t, denyAll+`,{"allow":true,"type":"c","major":1,"access":"rwm"}`)))
		err := m.Set(devices(t, rules))
		if err == nil || !strings.Contains(err.Error(), `"c 1:11 r" cannot be taken out of "c 1:* rwm"`) {
			t.Errorf("%s\nerror %v", rules, err)
		}
	}
}

func TestMalformedDeviceRules(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		m := create(t, h, "malformed")
		for _, rule := range []string{
			`{"allow":true}`, `{"allow":true,"access":"rx"}`, `{"allow":true,"type":"p","access":"r"}`,
			`{"allow":true,"type":"c","major":-2,"access":"r"}`, `{"allow":true,"type":"c","minor":4294967296,"access":"r"}`,
		} {
			if err := m.Set(devices(t, rule)); err == nil {
				t.Errorf("%s was taken", rule)
			}
		}
	})
}

// Random lists that v1 can keep, each after the last, against what processes
// get. (Reading and writing at once is left out: v1 wants one line that allows
// both.)
func TestTheControllerDoesWhatTheRulesSay(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "random")
	nodes := t.TempDir()
	run(t, "cd "+nodes+"; for n in 1:3 1:7 5:0 5:2; do mknod $n c ${n%:*} ${n#*:}; done")
	shell := start(t, m, fmt.Sprintf(tryNodes, nodes))
	random := rand.New(rand.NewPCG(7, 8))
	kept := 0
	for kept < 8 {
		rules := anyRules(random)
		err := m.Set(&specs.LinuxResources{Devices: rules})
		if errors.Is(err, unix.EINVAL) {
			continue
		}
		must(t, err)
		kept++
		shell.say("go")
		if got, want := oneAtATime(shell.line()), oneAtATime(allowed(rules)); got != want {
			t.Errorf("list %d:%s\nallowed: %s\nwant:    %s", kept, printed(rules), got, want)
		}
	}
}

// oneAtATime drops the attempts to read and write at once.
func oneAtATime(tries string) string {
	words := slices.DeleteFunc(strings.Fields(tries), func(word string) bool { return strings.HasSuffix(word, "-both") })
	return strings.Join(words, " ")
}

// An update takes away what is no longer allowed, and nothing for a moment; nor
// does it matter that there are groups below.
func TestAnUpdateOfDevicesIsNotFelt(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "update")
	const null = `,{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}`
	must(t, m.Set(devices(t, denyAll+null+`,{"allow":true,"type":"c","major":1,"minor":5,"access":"rw"}`)))
	create(t, legacy(t), "update/below")
	shell := start(t, m, "echo in; while read line < /dev/null || :; do :; done 2>&1")
	shell.line()
	for i := range 50 {
		must(t, m.Set(devices(t, denyAll+null+fmt.Sprintf(`,{"allow":true,"type":"c","major":1,"minor":%d,"access":"r"}`, 7+i%2))))
	}
	if got := run(t, "sort "+dir(m, "devices")+"/devices.list"); got != "c 1:3 rwm\nc 1:8 r" {
		t.Errorf("the list is %q", got)
	}
	must(t, m.Kill())
	if said := shell.rest(); said != "" {
		t.Errorf("it said %q", said)
	}
}
