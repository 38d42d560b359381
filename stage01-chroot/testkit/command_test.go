package testkit_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

func TestWhatACommandLinePrints(t *testing.T) {
	if got := testkit.Output(t, exec.Command("sh", "-c", "echo a; echo b >&2")); got != "a\nb\n" {
		t.Errorf("output: %q", got)
	}
	if got := testkit.Mistake(t, "shell", exec.Command("sh", "-c", "echo b >&2; exit 1")); got != "$ shell -c echo b >&2; exit 1\nb\n" {
		t.Errorf("mistake: %q", got)
	}
}

func TestACommandLineThatEndsOtherwiseFailsTheTest(t *testing.T) {
	for name, run := range map[string]func(tb testing.TB){
		"output of a failure":      func(tb testing.TB) { testkit.Output(tb, exec.Command("false")) },
		"no mistake":               func(tb testing.TB) { testkit.Mistake(tb, "true", exec.Command("true")) },
		"a mistake with an output": func(tb testing.TB) { testkit.Mistake(tb, "sh", exec.Command("sh", "-c", "echo a; exit 1")) },
		"another status":           func(tb testing.TB) { testkit.Mistake(tb, "sh", exec.Command("sh", "-c", "exit 2")) },
	} {
		inner := &recorder{TB: t}
		if run(inner); inner.said == "" {
			t.Errorf("%s is no failure", name)
		}
	}
}

func TestTheHostsNameIsReplacedWhereItIsTheLine(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got := testkit.WithoutHostname(t, fmt.Sprintf("  %s\n  a %s\n", name, name))
	if want := "  HOSTNAME\n  a " + name + "\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
