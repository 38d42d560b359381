package look_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/look"
	"skiff.example/stage02-namespaces/namespace"
)

// What we read, compared with what others read.

func TestIdentitiesAreThoseOfLsns(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t)
	var ours []string
	for _, n := range read(t, c.Pid).Namespaces {
		ours = append(ours, n.ID)
	}
	var theirs []string
	for line := range strings.Lines(run(t, "lsns", "-n", "-r", "-o", "TYPE,NS", "-p", fmt.Sprint(c.Pid))) {
		f := strings.Fields(line)
		theirs = append(theirs, fmt.Sprintf("%s:[%s]", f[0], f[1]))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) {
		t.Errorf("we see %v\nlsns sees %v", ours, theirs)
	}
}

func TestOwnersAndParentsAreThoseOfLsns(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t)
	p := read(t, c.Pid)
	for _, n := range p.Namespaces {
		r, err := p.ReadRelatives(n.Kind)
		if err != nil {
			t.Fatal(err)
		}
		parent, owner := "0", "0"
		if len(r.Ancestors) > 0 {
			parent = number(r.Ancestors[0])
		}
		if r.Owner != "" {
			owner = number(r.Owner)
		}
		if n.Kind.File == "user" {
			owner = parent // for lsns the owner of a user namespace is its parent
		}
		got := parent + " " + owner
		theirs := strings.TrimSpace(run(t, "lsns", "-n", "-r", "-o", "PNS,ONS", number(n.ID)))
		if first, _, _ := strings.Cut(theirs, "\n"); first != got {
			t.Errorf("%s: parent and owner are %s, for lsns %s", n.ID, got, first)
		}
	}
}

// number is what is in the brackets of an identity.
func number(id string) string {
	_, rest, _ := strings.Cut(id, "[")
	return strings.TrimSuffix(rest, "]")
}

func TestMountsAreThoseOfFindmnt(t *testing.T) {
	testkit.HostUnchanged(t)
	for name, pid := range map[string]int{"container": container(t).Pid, "this process": os.Getpid()} {
		var ours []string
		for _, m := range read(t, pid).Mounts {
			ours = append(ours, strings.Join([]string{m.Point, m.Type, strings.Join(m.Options, ","), m.Root}, "|"))
		}
		var theirs []string
		out := run(t, "findmnt", "-N", fmt.Sprint(pid), "-n", "-r", "-o", "TARGET,FSTYPE,VFS-OPTIONS,FSROOT")
		for line := range strings.Lines(out) {
			fields := strings.Fields(line)
			theirs = append(theirs, strings.ReplaceAll(strings.Join(fields, "|"), `\x20`, " "))
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s: we see\n%s\nfindmnt sees\n%s", name, strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
		}
	}
}

func TestTheNetworkIsThatOfIP(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t)
	n, err := read(t, c.Pid).ReadNetwork()
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, "nsenter", "--target", fmt.Sprint(c.Pid), "--net", "ip", "-o", "addr")
	theirs := strings.Fields(out)
	for _, a := range n.Addresses {
		if !slices.ContainsFunc(theirs, func(word string) bool { return strings.HasPrefix(word, a.String()+"/") }) {
			t.Errorf("ip does not see %v but %q", a, out)
		}
	}
	if len(n.Addresses) != strings.Count(out, "inet") || !slices.Contains(n.Interfaces, "lo") {
		t.Errorf("we see %v, ip sees %q", n, out)
	}
}

func TestIdsAndMapsAreRead(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t)
	p := read(t, c.Pid)
	if p.Pid != c.Pid || p.Parent != os.Getpid() || p.Name != "waits" || !slices.Equal(p.Command, []string{"waits"}) {
		t.Errorf("%+v", p)
	}
	if !slices.Equal(p.NSpid, []int{c.Pid, 1}) || p.Setgroups != "allow" {
		t.Errorf("NSpid %v, setgroups %q", p.NSpid, p.Setgroups)
	}
	want := []look.IDMapping{{Inside: 0, Here: 1000, Size: 1}, {Inside: 1, Here: 100000, Size: 65536}}
	if !slices.Equal(p.UIDMap, want) || !slices.Equal(p.GIDMap, want[:1]) {
		t.Errorf("maps %v and %v", p.UIDMap, p.GIDMap)
	}
}

// inNewKind is a process in a new namespace of one kind. clone3(2) makes a time
// namespace only since Linux 6.3, and unshare(2) makes it for children.
func inNewKind(t *testing.T, k namespace.Kind) int {
	t.Helper()
	if k.Flag == unix.CLONE_NEWTIME {
		return heldAfter(t, plan.Unshare(k.Flag), plan.CloneSibling())
	}
	return inNew(t, uintptr(k.Flag))
}

func TestEachKindIsSeenToBeTheOnlyNewOne(t *testing.T) {
	testkit.HostUnchanged(t)
	us := read(t, os.Getpid())
	for _, k := range namespace.Kinds {
		p := read(t, inNewKind(t, k))
		for _, n := range p.Namespaces {
			if isNew := n.ID != us.Namespace(n.Kind.File).ID; isNew != (n.Kind.File == k.File) {
				t.Errorf("with a new %s namespace, %s is %s, ours %s", k.File, n.Kind.File, n.ID, us.Namespace(n.Kind.File).ID)
			}
		}
	}
}

// A new time namespace by unshare(2) is for the children only.
func TestTheNamespaceOfTheChildrenIsSeen(t *testing.T) {
	testkit.HostUnchanged(t)
	pid := heldAfter(t, plan.Unshare(unix.CLONE_NEWTIME))
	n := read(t, pid).Namespace("time")
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time_for_children", pid))
	if err != nil || n.Children != link || n.Children == n.ID {
		t.Errorf("children in %q, the kernel says %q (%v)", n.Children, link, err)
	}
	if want := "its children are in " + link; !strings.Contains(table(t, pid), want) {
		t.Errorf("the table does not say %q", want)
	}
}

func TestAProcessThatIsNotThereIsAnError(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid // has been
	var text strings.Builder
	for _, draw := range []func() error{
		func() error { return look.Table(&text, pid) },
		func() error { return look.Tree(&text, pid) },
		func() error { _, err := look.ParsePid("12x"); return err },
		func() error { _, err := look.ParsePid("0"); return err },
		func() error { _, err := look.ParsePid("-1"); return err },
	} {
		err := draw()
		hint.Print(&text, "stage02", err)
	}
	if err := look.Table(&text, pid); !errors.Is(err, unix.ESRCH) {
		t.Errorf("error %v", err)
	}
	testkit.Golden(t, text.String(), "errors.golden")
}
