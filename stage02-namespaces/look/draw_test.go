package look_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/look"
)

func TestTheTableOfAContainer(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t)
	testkit.Golden(t, stable(table(t, c.Pid), c.Pid), "table.golden")
}

func TestTheTreeOfAContainer(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t)
	processes, namespaces, found := strings.Cut(tree(t, c.Pid), "\n\n")
	if !found {
		t.Fatal("not two trees")
	}
	// What is above this test is the machine's.
	lines := strings.Split(processes, "\n")
	if len(lines) < 2 || !strings.HasPrefix(lines[0], "1 ") {
		t.Errorf("does not begin at process 1:\n%s", processes)
	}
	if me := lines[len(lines)-2]; !strings.Contains(me, fmt.Sprintf("└─ %d ", os.Getpid())) {
		t.Errorf("this test is not above the container:\n%s", processes)
	}
	last := strings.TrimLeft(lines[len(lines)-1], " ")
	testkit.Golden(t, stable(last+"\n\n"+namespaces, c.Pid), "tree.golden")
}

// stable replaces what differs from machine to machine: the process's number,
// the file system that the bound folder is on, who else runs, and with them how
// wide the columns are.
func stable(text string, pid int) string {
	for _, rule := range []struct{ pattern, with string }{
		{`\b` + strconv.Itoa(pid) + `\b`, "PID"},
		{`(/bin +)\S+ +\S+\[\S+\] +\S+`, "${1}FS  DEVICE[FOLDER]  OPTIONS"},
		{`\d+ others: .*`, "OTHERS"},
		{` \(\d+ are not readable\)`, ""},
		{`(cgroup +own +\S+ +).*`, "${1}PATHS"},
		{`shared:\d+`, "shared:N"},
		{`, ::1$`, ""}, // where the kernel has IPv6
		{`  +`, "  "},
	} {
		text = regexp.MustCompile("(?m)"+rule.pattern).ReplaceAllString(text, rule.with)
	}
	return text
}

func TestWhatIsSharedWithUsIsSaidToBe(t *testing.T) {
	testkit.HostUnchanged(t)
	text := table(t, inNew(t, unix.CLONE_NEWUTS))
	for _, want := range []string{`(?m)^uts +own +uts:\[\d+\] +host name, domain name: to be seen only from inside$`, `(?m)^net +shared +net:`} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("nothing matches %s in\n%s", want, text)
		}
	}
}

// Two processes in one namespace see each other in the legend.
func TestTheTreeNamesThoseThatShareANamespace(t *testing.T) {
	testkit.HostUnchanged(t)
	first := inNew(t, unix.CLONE_NEWIPC)
	ipc, err := os.Open(fmt.Sprintf("/proc/%d/ns/ipc", first))
	if err != nil {
		t.Fatal(err)
	}
	defer ipc.Close()
	join := plan.Descriptor{Number: int(ipc.Fd()), Name: "ipc"}
	second := heldAfter(t, plan.Setns(join, unix.CLONE_NEWIPC))
	text := tree(t, first)
	legend := regexp.MustCompile(`(?m)ipc +ipc:\[\d+\] +(.*)$`).FindStringSubmatch(text)
	if legend == nil || !strings.HasPrefix(legend[1], strconv.Itoa(second)+" ") {
		t.Errorf("not shared with %d alone:\n%s", second, text)
	}
	if own := regexp.MustCompile(fmt.Sprintf(`(?m)%d waits +own: ipc$`, first)); !own.MatchString(text) {
		t.Errorf("nothing matches %v in\n%s", own, text)
	}
}

func TestAZombieIsDrawn(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	info := &unix.Siginfo{}
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	text := table(t, cmd.Process.Pid) + tree(t, cmd.Process.Pid)
	if !strings.Contains(text, "[true]") || !strings.Contains(text, "none") || strings.Contains(text, "not everything is readable") {
		t.Errorf("%s", text)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A process may call itself and its mount points what it likes.
func TestNamesCannotCommandTheTerminal(t *testing.T) {
	testkit.HostUnchanged(t)
	const evil = "\x1b[2J\nroot\t\u202e"
	dir := t.TempDir() + "/" + evil
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	nothing := func(int) error { return nil }
	steps := append([]plan.Step{
		plan.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		plan.Mount(evil, dir, "tmpfs", 0, ""),
	}, execute(waits(t), "waits", evil)...)
	pid := start(t, unix.CLONE_NEWNS, nothing, steps...).Pid
	found := false
	for _, m := range read(t, pid).Mounts {
		found = found || m.Point == dir && m.Source == evil
	}
	if !found {
		t.Error("the mount is not read as it is")
	}
	text := table(t, pid) + tree(t, pid)
	if strings.ContainsAny(text, "\x1b\u202e") || !strings.Contains(text, `\x1b[2J\nroot\t\u202e`) {
		t.Errorf("%q", text)
	}
}

// An ordinary user sees his own, and is told what is not for him.
func TestAnOrdinaryUserIsToldWhatIsNotReadable(t *testing.T) {
	testkit.Root(t)
	cmd := exec.Command(testkit.Build(t, "./testdata/looks"), strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"not readable", "hint: root sees more", "everybody is the same here"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
}

// Processes come and go while all of them are read.
func TestProcessesMayVanishMeanwhile(t *testing.T) {
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := exec.Command("true").Run(); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 30 {
		if text := tree(t, os.Getpid()); !strings.Contains(text, "namespaces of process") {
			t.Errorf("%s", text)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAllFindsEveryProcessOnce(t *testing.T) {
	all, err := look.All()
	if err != nil {
		t.Fatal(err)
	}
	seen, me := 0, os.Getpid()
	for i, p := range all {
		if i > 0 && all[i-1].Pid >= p.Pid {
			t.Errorf("%d comes after %d", p.Pid, all[i-1].Pid)
		}
		if p.Pid == me {
			seen++
		}
	}
	if seen != 1 {
		t.Errorf("this process was found %d times", seen)
	}
}
