package namespace_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// What an ordinary user gets. The user exists in a mount namespace only, which
// has an /etc of its own; the programs are real.

// ordinary is a user with the number 4242.
type ordinary struct {
	t    *testing.T
	etc  string // what is on /etc
	path string // PATH
}

// newOrdinary makes the user; lent is the text of /etc/subuid and /etc/subgid.
func newOrdinary(t *testing.T, lent string) *ordinary {
	t.Helper()
	testkit.HostUnchanged(t)
	testkit.Need(t, "setpriv", "newuidmap", "newgidmap", "busybox", "unshare", "mount")
	u := &ordinary{t, t.TempDir(), os.Getenv("PATH")}
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/:/bin/sh\nstudent:x:4242:4242::/:/bin/sh\n",
		"group":  "root:x:0:\nstudent:x:4242:\n",
		"subuid": lent, "subgid": lent, "nsswitch.conf": "", "login.defs": "",
	} {
		if err := os.WriteFile(filepath.Join(u.etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

// run runs the program newuser as that user.
func (u *ordinary) run(args ...string) (string, error) {
	u.t.Helper()
	return u.runProgram("newuser", args...)
}

// runProgram runs a program from testdata as that user.
func (u *ordinary) runProgram(name string, args ...string) (string, error) {
	u.t.Helper()
	const script = `mount --bind "$0" /etc && exec setpriv --reuid 4242 --regid 4242 --clear-groups -- "$@"`
	cmd := exec.Command("unshare", append([]string{
		"-m", "sh", "-c", script, u.etc,
		testkit.Build(u.t, "./testdata/"+name),
	}, args...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + u.path}
	if u.path == "" { // of the program alone: unshare and setpriv need theirs
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		cmd.Args = append(cmd.Args[:6:6], append([]string{"env", "PATH=/nonexistent"}, cmd.Args[6:]...)...)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// says makes sure that the program ends well, and says what is expected, which
// is compared word by word.
func (u *ordinary) says(want string, args ...string) {
	u.t.Helper()
	out, err := u.run(args...)
	if got := strings.Join(strings.Fields(out), " "); err != nil || got != want {
		u.t.Errorf("error %v\ngot  %s\nwant %s", err, got, want)
	}
}

// busybox is a program in the namespace.
func busybox(t *testing.T, script string) []string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	return []string{path, "sh", "-c", script}
}

const showMaps = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; id -g; id -G"

func TestAnOrdinaryUserHasTheIdsThatAreLentToHim(t *testing.T) {
	u := newOrdinary(t, "somebody:100000:65536\nstudent:300000:1000\nstudent:300500:9\n4242:500000:10\n")
	maps := "0 4242 1 1 300000 1000 1001 500000 10 "
	u.says(maps+maps+"allow 0 0 0", busybox(t, showMaps)...)
}

func TestAnOrdinaryUserWithoutLentIdsIsAlone(t *testing.T) {
	u := newOrdinary(t, "somebody:100000:65536\n")
	want := "0 4242 1 0 4242 1 deny 0 0 0"
	u.says(want, busybox(t, showMaps)...)
	u.says(want, append([]string{"-maps", "self"}, busybox(t, showMaps)...)...)
	rich := newOrdinary(t, "student:100000:65536\n")
	rich.path = "" // no newuidmap
	rich.says(want, busybox(t, showMaps)...)
}

func TestAnOrdinaryUserMakesAllKinds(t *testing.T) {
	u := newOrdinary(t, "student:100000:65536\n")
	const all = "user,mount,pid,network,ipc,uts,cgroup,time"
	const script = `hostname box && hostname && echo $$ && mount -t tmpfs none /mnt && grep -c . /proc/net/dev &&
		[ $(cut -d. -f1 /proc/uptime) -gt 900000000 ] && echo later`
	u.says("box 1 3 later", append([]string{"-kinds", all, "-boottime", "900000000"}, busybox(t, script)...)...)
}

// The network is the host's, and so are the cgroup and time namespaces: to join
// those the user has no right, and no need.
func TestAnOrdinaryUserEntersHisContainer(t *testing.T) {
	u := newOrdinary(t, "student:100000:65536\n")
	for _, way := range []string{"path", "pidfd"} {
		out, err := u.runProgram("enter", append([]string{way}, busybox(t, "hostname; echo $$; cat /proc/self/uid_map; id -u")...)...)
		if got := strings.Join(strings.Fields(out), " "); err != nil || got != "entered 2 0 4242 1 1 100000 65536 0" {
			t.Errorf("%s: error %v\n%s", way, err, out)
		}
	}
}

// Each error that an ordinary user meets, with its hint.
func TestWhatAnOrdinaryUserIsRefused(t *testing.T) {
	u := newOrdinary(t, "student:300000:65536\n")
	without := *u
	without.path = ""
	var text strings.Builder
	for _, c := range []struct {
		who  *ordinary
		args []string
	}{
		{u, []string{"-kinds", "uts", "/bin/true"}},
		{u, []string{"-maps", "lent", "/bin/true"}},
		{&without, []string{"-maps", "lent", "/bin/true"}},
	} {
		out, err := c.who.run(c.args...)
		fmt.Fprintf(&text, "%s: %v\n%s", strings.Join(c.args, " "), err, out)
	}
	testkit.Golden(t, text.String(), "ordinary-refused.golden")
}
