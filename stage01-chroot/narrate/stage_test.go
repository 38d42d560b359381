package narrate_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"skiff.example/stage01-chroot/narrate"
)

// stage is a stage that writes to out, and is cleared away with the test.
func stage(t *testing.T, ctx context.Context, out *strings.Builder) *narrate.Stage {
	t.Helper()
	s, err := narrate.NewStage(ctx, out, "program", "-test.run=NoSuchTest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
			t.Errorf("the folder is still there: %v", err)
		}
	})
	return s
}

func TestCommandLinesRunInTheFolder(t *testing.T) {
	var out strings.Builder
	s := stage(t, t.Context(), &out)
	s.Set("word", "hello")
	s.Do(`echo "$word" > file`)
	s.Do("cat file")
	s.Refused("cat no-such-file")
	s.Do("program 2>&1 | grep -c PASS") // this test program, with the flags
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	want := "$ echo \"$word\" > file\n$ cat file\n  hello\n$ cat no-such-file\n" +
		"  cat: no-such-file: No such file or directory\n  (exit status 1)\n$ program 2>&1 | grep -c PASS\n  1\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestAProcessInTheBackgroundIsAttackedOrEnded(t *testing.T) {
	var out strings.Builder
	s := stage(t, t.Context(), &out)
	attacked := s.Background("sleep 60")
	s.Do("kill -TERM $pid")
	attacked.Ended()
	attacked.End() // does nothing any more
	s.Background("sleep 61").End()
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	want := "$ sleep 60 & pid=$!\n$ kill -TERM $pid\n$ wait $pid\n  signal: terminated\n$ sleep 61 & pid=$!\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestTheEndOfTheContextEndsACommandLine(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out strings.Builder
	s := stage(t, ctx, &out)
	time.AfterFunc(100*time.Millisecond, cancel)
	begin := time.Now()
	s.Do("sleep 30; echo not reached")
	if s.Err() == nil || time.Since(begin) > 20*time.Second || strings.Contains(out.String(), "\n  not") {
		t.Errorf("after %v: error %v, printed\n%s", time.Since(begin), s.Err(), out.String())
	}
}
