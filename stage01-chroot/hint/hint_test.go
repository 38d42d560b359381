package hint_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/hint"
)

func TestTheHintNearestToTheCauseWins(t *testing.T) {
	cause := hint.Add(fs.ErrPermission, "run it as root")
	err := hint.Add(fmt.Errorf("start: %w", cause), "try again")
	if got := hint.Of(err); got != "run it as root" {
		t.Errorf("hint.Of = %q", got)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is no longer found through the hint")
	}
}

func TestAJoinedErrorHasTheHintOfItsFirstHintedPart(t *testing.T) {
	err := errors.Join(fs.ErrClosed, hint.Add(fs.ErrExist, "remove it"))
	if got := hint.Of(err); got != "remove it" {
		t.Errorf("hint.Of = %q", got)
	}
}

func TestNilStaysNil(t *testing.T) {
	if hint.Add(nil, "text") != nil {
		t.Error("a hint made an error out of nil")
	}
}

func TestPrintPutsTheHintOnALineOfItsOwn(t *testing.T) {
	var b strings.Builder
	hint.Print(&b, "skiff", hint.Add(errors.New("pull x: not found"), "check the name"))
	if want := "skiff: pull x: not found\nhint: check the name\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
