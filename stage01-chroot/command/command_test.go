package command_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
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
			command.New("fail", "", "fail", 0, func(*cli.Context, []string) error {
				return hint.Add(errors.New("it failed"), "do not call it")
			}),
			command.New("call", "", "call a command that fails", 0, func(*cli.Context, []string) error {
				return exec.Command("sh", "-c", "exit 3").Run()
			}),
			command.New("exit", "", "end with status 7", 0, func(*cli.Context, []string) error { return cli.Exit("", 7) }),
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
		{"echo --flog a", "program: flag provided but not defined: -flog\nhint: the flags are listed by: program echo --help\n", 1},
		{"no-such", "program: unknown command \"no-such\"\nhint: the commands are listed by: program --help\n", 1},
		{"--no-such", "program: flag provided but not defined: -no-such\nhint: the flags are listed by: program --help\n", 1},
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

func TestCtrlCEndsTheContext(t *testing.T) {
	cmd := exec.Command(os.Args[0], "as-program", "wait")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 64)); err != nil { // it waits
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || said.String() != "program: interrupted\n" {
		t.Errorf("it ended with %v, and said %q", err, said.String())
	}
}
