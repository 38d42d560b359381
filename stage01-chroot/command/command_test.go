package command_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/hint"
)

// The test program is the command line that is tested, when it is called so.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "as-program" {
		os.Exit(command.Run(program(), append([]string{"program"}, os.Args[2:]...)))
	}
	os.Exit(m.Run())
}

// program has a command for each way to end.
func program() *cli.App {
	return &cli.App{
		Name: "program",
		Commands: []*cli.Command{
			command.New("echo", "WORD…", "print the words", 1, func(_ *cli.Context, words []string) error {
				_, err := os.Stdout.WriteString(strings.Join(words, " ") + "\n")
				return err
			}, &cli.BoolFlag{Name: "flag"}),
			command.New("two", "ONE OTHER", "print two words", 2, func(_ *cli.Context, words []string) error {
				_, err := os.Stdout.WriteString(strings.Join(words, "+") + "\n")
				return err
			}),
			command.New("fail", "", "fail", 0, func(*cli.Context, []string) error {
				return hint.Add(errors.New("it failed"), "do not call it")
			}),
			command.New("call", "", "call a command that fails", 0, func(*cli.Context, []string) error {
				return exec.Command("sh", "-c", "exit 3").Run()
			}),
			command.New("exit", "", "end with status 7", 0, func(*cli.Context, []string) error { return cli.Exit("", 7) }),
			command.New("print", "", "print until nobody reads", 0, func(*cli.Context, []string) error { return printing() }),
			command.New("print-broken", "", "print until nobody reads, and clean up badly", 0, func(*cli.Context, []string) error {
				return errors.Join(printing(), errors.New("and this"))
			}),
			command.New("wait", "", "wait to be interrupted", 0, func(c *cli.Context, _ []string) error {
				if _, err := os.Stdout.WriteString("waiting\n"); err != nil {
					return err
				}
				<-c.Done()
				return context.Cause(c.Context)
			}),
		},
	}
}

// printing prints for as long as somebody reads.
func printing() error {
	for {
		if _, err := os.Stdout.WriteString("x\n"); err != nil {
			_, saying := os.Stderr.WriteString("cleaned up\n")
			return errors.Join(err, saying)
		}
	}
}

// called runs the program and returns what it prints, and its status.
func called(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out, err := exec.Command(os.Args[0], append([]string{"as-program"}, args...)...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

func TestWhatACommandLineSays(t *testing.T) {
	for _, c := range []struct {
		line   string
		want   string
		status int
	}{
		{"echo --flag a --b -c", "a --b -c\n", 0},
		{"echo", "program: echo: too few arguments\nhint: usage: program echo WORD…\n", 1},
		{"exit a", "program: exit: too many arguments\nhint: usage: program exit\n", 1},
		{"two a b", "a+b\n", 0},
		{"two a", "program: two: too few arguments\nhint: usage: program two ONE OTHER\n", 1},
		{"two a b c", "program: two: too many arguments\nhint: usage: program two ONE OTHER\n", 1},
		{"echo --flog a", "program: no flag is called --flog\nhint: the flags are listed by: program echo --help\n", 1},
		{"no-such", "program: unknown command \"no-such\"\nhint: the commands are listed by: program --help\n", 1},
		{"--no-such", "program: no flag is called --no-such\nhint: the flags are listed by: program --help\n", 1},
		{"fail", "program: it failed\nhint: do not call it\n", 1},
		{"call", "program: exit status 3\n", 1},
		{"exit", "", 7},
	} {
		if got, status := called(t, strings.Fields(c.line)...); got != c.want || status != c.status {
			t.Errorf("program %s: status %d, printed\n%swant status %d and\n%s", c.line, status, got, c.status, c.want)
		}
	}
}

func TestHelpIsPrintedForNoCommand(t *testing.T) {
	if got, status := called(t); status != 0 || !strings.Contains(got, "print the words") {
		t.Errorf("status %d, printed\n%s", status, got)
	}
}

func TestMissingProgramsAreNamed(t *testing.T) {
	err := command.NeedPrograms("demo", "no-such-program", "sh", "nor-this")
	if want := "demo needs programs that are not in PATH: no-such-program, nor-this"; err == nil || err.Error() != want || hint.Of(err) == "" {
		t.Errorf("got %v, hint %q; want %s", err, hint.Of(err), want)
	}
	if err := command.NeedPrograms("demo", "sh"); err != nil {
		t.Error(err)
	}
}

// Ctrl-C, kill(1), and a terminal that is closed.
func TestASignalEndsTheContext(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		cmd, said, _ := waiting(t, os.Args[0], "as-program", "wait")
		if err := cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || said.String() != "program: interrupted\n" {
			t.Errorf("%v: it ended with %v, and said %q", s, err, said)
		}
	}
}

// nohup(1) has its program ignore SIGHUP, and that stays so.
func TestAnIgnoredHangUpStaysIgnored(t *testing.T) {
	cmd, said, _ := waiting(t, "sh", "-c", `trap "" HUP; exec "$@"`, "sh", os.Args[0], "as-program", "wait")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Error(err)
	}
	if !regexp.MustCompile(`(?m)^SigIgn:\t\w*[13579bdf]$`).Match(status) { // the lowest bit is signal 1
		t.Errorf("SIGHUP is not ignored:\n%s", status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || said.String() != "program: interrupted\n" {
		t.Errorf("it ended with %v, and said %q", err, said)
	}
}

// `program | head`: the command gets an error, and can clean up.
func TestWhenNobodyReadsACommandEndsInOrder(t *testing.T) {
	for name, want := range map[string]string{"print": "cleaned up\n", "print-broken": "cleaned up\nprogram: write /dev/stdout: broken pipe\nand this\n"} {
		cmd, said, out := waiting(t, os.Args[0], "as-program", name)
		if err := out.Close(); err != nil {
			t.Error(err)
		}
		status := map[bool]int{true: 141, false: 1}[name == "print"]
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != status || said.String() != want {
			t.Errorf("%s: it ended with %v, and said %q; want status %d and %q", name, err, said, status, want)
		}
	}
}

// waiting starts a program and returns when it has printed something: it is
// in its command. What it says to standard error is complete after Wait.
func waiting(t *testing.T, program string, args ...string) (*exec.Cmd, *strings.Builder, io.Closer) {
	t.Helper()
	cmd := exec.Command(program, args...)
	said := &strings.Builder{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Error(err)
	}
	return cmd, said, out
}
