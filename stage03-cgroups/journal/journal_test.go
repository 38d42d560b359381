// What the journal promises, one test for each promise. The promise it is for,
// that kill -9 at any moment leaves nothing behind, is in killed_test.go.

package journal_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
)

// open opens a journal, or fails the test.
func open(t *testing.T, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// record records an entry, or fails the test.
func record(t *testing.T, j *journal.Journal, undo string, args ...string) {
	t.Helper()
	if err := j.Record(undo, args...); err != nil {
		t.Fatal(err)
	}
}

// cat is the file as another program sees it.
func cat(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("cat", path).CombinedOutput()
	if err != nil {
		t.Fatalf("cat: %v: %s", err, out)
	}
	return string(out)
}

func TestPeopleCanReadIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	record(t, j, "rmdir", "/run/skiff/web/root")
	record(t, j, "cgroup", "/sys/fs/cgroup/web", "a name\nwith a newline")

	want := `{"undo":"rmdir","args":["/run/skiff/web/root"]}
{"undo":"cgroup","args":["/sys/fs/cgroup/web","a name\nwith a newline"]}
`
	if got := cat(t, path); got != want {
		t.Errorf("the journal reads\n%s\nwant\n%s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode(); mode != 0o600 {
		t.Errorf("mode %v, want -rw-------", mode)
	}
}

func TestTheNextProcessReadsWhatWasLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	first := open(t, path)
	record(t, first, "rmdir", "/a")
	record(t, first, "umount", "/b")
	first.Close()

	second := open(t, path)
	record(t, second, "rmdir", "/c")
	third := open(t, path)
	var kinds []string
	for _, e := range third.Entries() {
		kinds = append(kinds, e.Undo+" "+strings.Join(e.Args, " "))
	}
	if want := []string{"rmdir /a", "umount /b", "rmdir /c"}; !slices.Equal(kinds, want) {
		t.Errorf("entries %q, want %q", kinds, want)
	}
}

// A write can stop half way when its writer is killed. The half line must
// neither be believed nor spoil the line after it.
func TestTornLastLineIsIgnored(t *testing.T) {
	whole := `{"undo":"rmdir","args":["/a"]}` + "\n"
	for _, torn := range []string{"{", `{"undo":"remove-all","args":["/`, `{"undo":"rmdir","args":["/b"]}`} {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, []byte(whole+torn), 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, path)
		if n := len(j.Entries()); n != 1 {
			t.Errorf("torn %q: %d entries, want 1", torn, n)
		}
		record(t, j, "rmdir", "/c")
		if got, want := cat(t, path), whole+`{"undo":"rmdir","args":["/c"]}`+"\n"; got != want {
			t.Errorf("torn %q: the journal reads %q, want %q", torn, got, want)
		}
	}
}

func TestABrokenLineInTheMiddleIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	text := `{"undo":"rmdir"}` + "\nrm -rf /\n" + `{"undo":"rmdir"}` + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := journal.Open(path)
	if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %q and line 2", err, path)
	}
}

// A journal says what to delete as root: it is never read through a link.
func TestASymbolicLinkIsNotAJournal(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "target"), filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(filepath.Join(dir, "journal")); err == nil {
		t.Error("a symbolic link was opened as a journal")
	}
}

func TestUndoGoesBackwardsAndRemovesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	for _, name := range []string{"1", "2", "3"} {
		record(t, j, "note", name)
	}
	var seen []string
	note := journal.Undoers{"note": func(args []string) error {
		seen = append(seen, args...)
		return nil
	}}
	for range 2 { // the second one finds nothing to do
		if err := j.Undo(note); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"3", "2", "1"}; !slices.Equal(seen, want) {
		t.Errorf("undone %q, want %q", seen, want)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the journal is still there: %v", err)
	}
	if err := j.Record("note", "4"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("record after undo: %v, want %v", err, fs.ErrClosed)
	}
}

func TestWhatFailsStaysForTheNextOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	for _, name := range []string{"1", "busy", "3", "broken", "5"} {
		record(t, j, "note", name)
	}
	busy, broken := errors.New("busy"), errors.New("broken")
	err := j.Undo(journal.Undoers{"note": func(args []string) error {
		return map[string]error{"busy": busy, "broken": broken}[args[0]]
	}})
	if !errors.Is(err, busy) || !errors.Is(err, broken) {
		t.Errorf("error %v, want both reasons", err)
	}
	record(t, j, "note", "6") // it can be used on
	j.Close()

	var seen []string
	next := open(t, path)
	err = next.Undo(journal.Undoers{"note": func(args []string) error {
		seen = append(seen, args...)
		return nil
	}})
	if want := []string{"6", "broken", "busy"}; err != nil || !slices.Equal(seen, want) {
		t.Errorf("the next one undid %q (%v), want %q", seen, err, want)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAnUnknownKindIsNamedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	record(t, j, "wormhole", "/a")
	err := j.Undo(journal.Files())
	if err == nil || err.Error() != `undo "wormhole": unknown kind of journal entry` {
		t.Errorf("error %v", err)
	}
	if h := hint.Of(err); !strings.Contains(h, "remove-all, rmdir, umount") {
		t.Errorf("hint %q does not say which kinds are known", h)
	}
	if got := cat(t, path); !strings.Contains(got, "wormhole") {
		t.Errorf("the entry is gone: %q", got)
	}
}

// What is recorded is what is read, or there is no record.
func TestNamesOfAnyBytesComeBackAsTheyWere(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	const bytes = "a/\\\"\n\x00\x1b<\x7f\xc3\xa4\xe2\x80\xa8\xff\xef\xbf\xbd"
	var want []string
	for i := range 2000 {
		arg := make([]byte, random.IntN(8))
		for k := range arg {
			arg[k] = bytes[random.IntN(len(bytes))]
		}
		if err := j.Record("note", string(arg)); err == nil {
			want = append(want, string(arg))
		} else if !errors.Is(err, unix.EILSEQ) {
			t.Fatalf("%d, %q: %v", i, arg, err)
		}
	}
	var got []string
	for _, e := range open(t, path).Entries() {
		got = append(got, e.Args...)
	}
	if !slices.Equal(got, want) || len(want) < 100 || len(want) == 2000 {
		t.Errorf("%d recorded and %d read, or others", len(want), len(got))
	}
}

// JSON would write U+FFFD for such a byte: the name of another thing.
func TestWhatJSONCannotKeepIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.Record("rmdir", "/x/\xff"); !errors.Is(err, unix.EILSEQ) {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); len(text) != 0 || err != nil {
		t.Errorf("the journal says %q, error %v", text, err)
	}
}

// A file that is no journal is left as it is, and does not keep us waiting.
func TestAFileThatIsNoneOfOurs(t *testing.T) {
	const line = `{"undo":"rmdir"}` + "\n"
	for what, make := range map[string]func(path string) error{
		"a FIFO": func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a link": func(path string) error { return os.Symlink("/dev/null", path) },
		"others may write to it": func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(line), 0o600), os.Chmod(path, 0o622))
		},
		"it has a name elsewhere": func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(line), 0o600), os.Link(path, path+"2"))
		},
		"it is huge": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat(line, 1<<16)), 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "journal")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if j, err := journal.Open(path); err == nil {
			t.Errorf("%s: opened", what)
			j.Close()
		}
	}
}

// Half an entry at the end is cut off; half a diary is somebody's.
func TestTheEndOfAnotherFileIsNotCutOff(t *testing.T) {
	for _, text := range []string{"Dear diary", "{\"undo\":\"rmdir\"}\nhalf a line, precious", "line one\n{", "\x00"} {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if j, err := journal.Open(path); err == nil {
			t.Errorf("%q: opened", text)
			j.Close()
		}
		if left := cat(t, path); left != text {
			t.Errorf("%q became %q", text, left)
		}
	}
}
