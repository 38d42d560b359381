package pid1_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// A screen is the other end of a terminal: what a person would type and see.
type screen struct {
	keys *os.File
	mu   sync.Mutex
	seen strings.Builder
}

// onTerminal starts cmd in a session of its own on a new terminal; the
// test must let it end.
func onTerminal(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "INIT=" + initProgram(t), "TERM=dumb", "PS1=ready> "}
	if err := errors.Join(cmd.Start(), slave.Close()); err != nil {
		t.Fatal(err)
	}
	s := &screen{keys: master}
	read := make(chan struct{})
	go func() { defer close(read); s.read() }()
	t.Cleanup(func() {
		late := time.AfterFunc(patience, func() { t.Error("it does not end"); _ = cmd.Process.Kill() })
		_ = cmd.Wait() // with whatever status
		late.Stop()
		<-read
		if err := master.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// read collects what is printed, until nobody has the terminal open (EIO).
func (s *screen) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := s.keys.Read(buffer)
		s.mu.Lock()
		s.seen.Write(buffer[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// shows waits until the screen shows text, and wipes it off with what was before
// it.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		all := s.seen.String()
		_, rest, found := strings.Cut(all, text)
		if !found {
			return fmt.Sprintf("the screen shows %q, not %q", all, text)
		}
		s.seen.Reset()
		s.seen.WriteString(rest)
		return ""
	})
}

// types presses keys.
func (s *screen) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(s.keys, keys); err != nil {
		t.Fatal(err)
	}
}

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

func TestTheProgramIsInTheForegroundOfTheTerminal(t *testing.T) {
	testkit.HostUnchanged(t)
	s := onTerminal(t, underInit(t, "sh", "-c", `read x; read _ _ _ _ group _ _ front _ < /proc/self/stat; echo $x, $((group == front))`))
	s.types(t, "hello\n")
	s.shows(t, "hello, 1")
}

func TestCtrlCIsForTheProgramAlone(t *testing.T) {
	testkit.HostUnchanged(t)
	s := onTerminal(t, underInit(t, "sh", "-c", `n=0; trap 'n=$((n + 1))' INT; echo go; read x; read y; echo got $n, $y`))
	s.shows(t, "go")
	s.types(t, ctrlC)
	s.types(t, "first\nsecond\n")
	s.shows(t, "got 1,")
}

// The kernel does not stop a program at Ctrl-Z that nobody could continue.
func TestCtrlZDoesNotFreezeAContainer(t *testing.T) {
	testkit.HostUnchanged(t)
	s := onTerminal(t, underInit(t, "sh", "-c", `trap 'echo continued' CONT; echo go; read x; read x; echo $x`))
	s.shows(t, "go")
	s.types(t, ctrlZ)
	s.shows(t, "continued")
	s.types(t, "more\nmore\n")
	s.shows(t, "more")
}

func TestInAShellItIsAJobLikeAnyOther(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "bash")
	s := onTerminal(t, exec.Command("bash", "--norc", "--noprofile", "--noediting", "-i"))
	s.shows(t, "ready>")
	s.types(t, `"$INIT" sh -c 'echo be''gun; while read x; do echo "<$x>"; done'`+"\n")
	s.shows(t, "begun")
	s.types(t, ctrlZ)
	s.shows(t, "Stopped")
	s.types(t, "echo sh''ell\n")
	s.shows(t, "shell")
	s.types(t, "fg\n")
	s.types(t, "word\n")
	s.shows(t, "<word>")
	s.types(t, ctrlC)
	s.shows(t, "ready>")
	s.types(t, "echo status $?\n")
	s.shows(t, "status 130")
	s.types(t, "exit\n")
}

// Where the init is one process of several in a shell's job, it must not stop
// alone: nobody would get a prompt.
func TestCtrlZDoesNotStopPartOfAJob(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "bash")
	s := onTerminal(t, exec.Command("bash", "--norc", "--noprofile", "--noediting", "-i"))
	s.shows(t, "ready>")
	s.types(t, `sh -c '"$INIT" sh -c "echo be\"\"gun; read x; echo \"<\$x>\""; true'`+"\n")
	s.shows(t, "begun")
	s.types(t, ctrlZ)
	s.types(t, "word\n")
	s.shows(t, "<word>")
	s.types(t, "exit\n")
}

func TestTheTerminalIsGivenBack(t *testing.T) {
	testkit.HostUnchanged(t)
	noise := t.TempDir() + "/noise" // gets the terminal, and fails in execve(2)
	if err := os.WriteFile(noise, []byte("noise\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	const script = `"$INIT" true; read x; echo "($x)"; "$INIT" "$1"; read x; echo "<$x>"`
	s := onTerminal(t, exec.Command("sh", "-c", script, "sh", noise))
	s.types(t, "first\n")
	s.shows(t, "(first)")
	s.shows(t, "exec format error")
	s.types(t, "word\n")
	s.shows(t, "<word>")
}

func TestAJobInTheBackgroundDoesNotTakeTheTerminal(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "bash")
	s := onTerminal(t, exec.Command("bash", "--norc", "--noprofile", "--noediting", "-i"))
	s.shows(t, "ready>")
	s.types(t, `"$INIT" sh -c 'echo be''gun; sleep 0.2; echo do''ne' & `+"\n")
	s.shows(t, "done")
	s.types(t, "echo sh''ell\n")
	s.shows(t, "shell")
	s.types(t, "wait; exit\n") // bash does not wait by itself
}
