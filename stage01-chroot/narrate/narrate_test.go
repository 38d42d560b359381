package narrate_test

import (
	"os/exec"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/narrate"
)

func TestADemoShowsCommandsAndWhatTheyPrint(t *testing.T) {
	var b strings.Builder
	d := narrate.New(&b)
	d.Part("first")
	d.Say("one\ntwo")
	d.Run("greet", exec.Command("sh", "-c", "echo hello; echo trouble >&2"))
	d.RunRefused("try", exec.Command("sh", "-c", "echo no; exit 3"))
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	want := "== 1. first\none\ntwo\n$ greet\n  hello\n  trouble\n$ try\n  no\n  (exit status 3)\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestADemoStopsAtTheFirstFailure(t *testing.T) {
	for name, fail := range map[string]func(*narrate.Demo){
		"a command that fails":              func(d *narrate.Demo) { d.Run("false", exec.Command("false")) },
		"an attack that succeeds":           func(d *narrate.Demo) { d.RunRefused("true", exec.Command("true")) },
		"a command that is not there":       func(d *narrate.Demo) { d.Run("x", exec.Command("/no/such/program")) },
		"a refusal that was never answered": func(d *narrate.Demo) { d.RunRefused("x", exec.Command("/no/such/program")) },
	} {
		var b strings.Builder
		d := narrate.New(&b)
		fail(d)
		before := b.String()
		d.Say("never")
		if d.Err() == nil || b.String() != before {
			t.Errorf("%s: error %v, and it went on: %q", name, d.Err(), b.String())
		}
	}
}
