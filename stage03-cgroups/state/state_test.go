package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
)

// open opens a container's folder, which must go well.
func open(t *testing.T, dir, name string) *state.Folder {
	t.Helper()
	f, err := state.Open(dir, name, journal.Files())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// collected are the containers that Collect finishes.
func collected(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := state.Collect(dir, journal.Files(), func(name string, _ []journal.Entry) { names = append(names, name) })
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A folder as a killed runtime leaves it: a thing that was made, a line in the
// journal, and no lock.
func leave(t *testing.T, dir, name string) (thing string) {
	t.Helper()
	thing = filepath.Join(t.TempDir(), "thing")
	folder := filepath.Join(dir, name)
	if err := errors.Join(makeFolder(folder), os.Mkdir(thing, 0o700)); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(filepath.Join(folder, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Record("rmdir", thing), j.Close()); err != nil {
		t.Fatal(err)
	}
	return thing
}

// makeFolder makes the folder of a container, as a runtime makes it.
func makeFolder(folder string) error {
	const mode = unix.S_ISVTX | 0o700
	if err := unix.Mkdir(filepath.Dir(folder), mode); err != nil && err != unix.EEXIST {
		return err
	}
	return unix.Mkdir(folder, mode)
}

// gone fails the test if one of the paths is there.
func gone(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there (error %v)", path, err)
		}
	}
}

func TestCloseUndoesAndLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f := open(t, dir, "web")
	thing := filepath.Join(t.TempDir(), "thing")
	if err := errors.Join(f.Journal.Record("rmdir", thing), os.Mkdir(thing, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	gone(t, thing, dir)
}

func TestTheFolderIsClosedToOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f := open(t, dir, "web")
	defer f.Close()
	for _, path := range []string{dir, f.Path} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, error %v; want 0700", path, info.Mode(), err)
		}
	}
}

func TestANameIsInUseWhileItsRuntimeLives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f := open(t, dir, "web")
	if _, err := state.Open(dir, "web", journal.Files()); !errors.Is(err, unix.EBUSY) {
		t.Errorf("second one: %v, want %v", err, unix.EBUSY)
	}
	if names := collected(t, dir); len(names) > 0 {
		t.Errorf("collected %q, which is alive", names)
	}
	if err := errors.Join(open(t, dir, "other").Close(), f.Close()); err != nil {
		t.Error(err)
	}
	gone(t, dir)
}

func TestTheNextOfTheSameNameFinishesWhatAKilledOneLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	thing := leave(t, dir, "web")
	f := open(t, dir, "web")
	gone(t, thing)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestCollectFinishesWhatKilledOnesLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	a, b := leave(t, dir, "a"), leave(t, dir, "b")
	if names := collected(t, dir); len(names) != 2 {
		t.Errorf("collected %q, want a and b", names)
	}
	gone(t, a, b, dir)
	if names := collected(t, dir); len(names) != 0 {
		t.Errorf("collected %q from nothing", names)
	}
}

func TestANameIsNoPath(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "../a", "/a", "\xff", "a\033[2J", "a\tb", strings.Repeat("x", 201)} {
		if _, err := state.Open(t.TempDir(), name, journal.Files()); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%q: %v, want %v", name, err, unix.EINVAL)
		}
	}
}

// Many runtimes want one name at the same time, while others look after what was
// left: one at a time has it, the others hear that it is in use, and nobody sees a
// folder come or go half-way.
func TestOneAtATimeHasAName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	const users, rounds = 8, 50
	var inside, had atomic.Int32
	var all sync.WaitGroup
	for range users {
		all.Go(func() {
			for range rounds {
				f, err := state.Open(dir, "web", journal.Files())
				if errors.Is(err, unix.EBUSY) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d have it", n)
				}
				had.Add(1)
				inside.Add(-1)
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range rounds {
				if err := state.Collect(dir, journal.Files(), func(string, []journal.Entry) {}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if had.Load() == 0 {
		t.Error("nobody had it")
	}
	gone(t, dir)
}

// Whoever collects holds names for a moment only; who wants one then waits.
func TestCollectingIsNotRunning(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for range 20 {
		leave(t, dir, "web")
		var both sync.WaitGroup
		both.Go(func() {
			if err := state.Collect(dir, journal.Files(), func(string, []journal.Entry) {}); err != nil {
				t.Error(err)
			}
		})
		f, err := state.Open(dir, "web", journal.Files())
		if err != nil {
			t.Fatal(err)
		}
		both.Wait()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	gone(t, dir)
}

// A runtime can be killed between any two of the calls by which its folder comes
// and goes.
func TestFoldersThatAKilledRuntimeLeft(t *testing.T) {
	for what, leave := range map[string]func(dir string) error{
		"the folder of all":        func(dir string) error { return unix.Mkdir(dir, unix.S_ISVTX|0o700) },
		"a folder without journal": func(dir string) error { return makeFolder(filepath.Join(dir, "web")) },
		"an empty journal": func(dir string) error {
			return errors.Join(makeFolder(filepath.Join(dir, "web")), os.WriteFile(filepath.Join(dir, "web", "journal"), nil, 0o600))
		},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := leave(dir); err != nil {
			t.Fatal(err)
		}
		collected(t, dir)
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s is there (error %v)", what, dir, err)
		}
	}
}

func TestContainersAreListedAndFoundByName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if names, err := state.Names(dir); len(names) != 0 || err != nil {
		t.Errorf("names %q, error %v before there is one", names, err)
	}
	b, a := open(t, dir, "b"), open(t, dir, "a")
	if names, err := state.Names(dir); !slices.Equal(names, []string{"a", "b"}) || err != nil {
		t.Errorf("names %q, error %v", names, err)
	}
	if err := state.Find(dir, "a"); err != nil {
		t.Error(err)
	}
	if err := state.Find(dir, "c"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("error %v, want %v", err, unix.ENOENT)
	}
	if err := state.Find(dir, "../state/a"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("error %v, want %v", err, unix.EINVAL)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

// A word that is mistyped after --state must not cost anybody a file: what is not
// a container's folder is neither listed, nor finished, nor taken.
func TestWhatIsNotOursStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	stray := map[string]string{"alice/journal": "Dear diary, no newline", "bob/journal": "{\"undo\":\"x\"}\nhalf", "file": "text"}
	for name, text := range stray {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "empty"), 0o700), os.Symlink(t.TempDir(), filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	if names := collected(t, dir); len(names) > 0 {
		t.Errorf("collected %q", names)
	}
	for _, name := range []string{"alice", "file", "empty", "link"} {
		if _, err := state.Open(dir, name, journal.Files()); err == nil {
			t.Errorf("it took %s", name)
		}
	}
	for name, want := range stray {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, error %v", name, text, err)
		}
	}
	for _, name := range []string{"empty", "link"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// Who may write to the folder says what root undoes.
func TestAFolderThatOthersMayWriteToIsRefused(t *testing.T) {
	for what, open := range map[string]func(dir string) error{
		"all":       func(dir string) error { return os.Chmod(dir, 0o770) },
		"container": func(dir string) error { return os.Chmod(filepath.Join(dir, "web"), 0o770|os.ModeSticky) },
		"journal":   func(dir string) error { return os.Chmod(filepath.Join(dir, "web", "journal"), 0o666) },
	} {
		dir := filepath.Join(t.TempDir(), "state")
		thing := leave(t, dir, "web")
		if err := open(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := state.Open(dir, "web", journal.Files()); err == nil {
			t.Errorf("%s: taken", what)
		}
		if _, err := os.Stat(thing); err != nil {
			t.Errorf("%s: undone: %v", what, err)
		}
	}
}

func TestAnotherUsersFolderIsRefused(t *testing.T) {
	testkit.Root(t)
	for _, whose := range []string{"", "web", "web/journal"} {
		dir := filepath.Join(t.TempDir(), "state")
		thing := leave(t, dir, "web")
		if err := os.Chown(filepath.Join(dir, whose), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := state.Open(dir, "web", journal.Files()); err == nil {
			t.Errorf("%q: taken", whose)
		}
		if err := state.Collect(dir, journal.Files(), func(name string, _ []journal.Entry) { t.Errorf("%q: collected %s", whose, name) }); err == nil {
			t.Errorf("%q: no word of it", whose)
		}
		if _, err := os.Stat(thing); err != nil {
			t.Errorf("%q: undone: %v", whose, err)
		}
	}
}

// A folder that was there before its first container is there after the last.
func TestAFolderThatWasThereStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir, "web")
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	collected(t, dir)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, error %v", left, err)
	}
}

// Two names of one folder are one folder, and the end of a container does not
// remove the link.
func TestTheFolderMayHaveTwoNames(t *testing.T) {
	top := t.TempDir()
	dir, link := filepath.Join(top, "real/state"), filepath.Join(top, "link")
	if err := errors.Join(os.Mkdir(filepath.Dir(dir), 0o700), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	a := open(t, filepath.Join(link, "state"), "a")
	if want := filepath.Join(dir, "a"); a.Path != want {
		t.Errorf("its path is %q, want %q", a.Path, want)
	}
	if _, err := state.Open(dir, "a", journal.Files()); !errors.Is(err, unix.EBUSY) {
		t.Errorf("by its other name: %v, want %v", err, unix.EBUSY)
	}
	b := open(t, dir, "b")
	if err := errors.Join(os.Symlink(dir, filepath.Join(top, "short")), open(t, filepath.Join(top, "short"), "c").Close()); err != nil {
		t.Error(err)
	}
	if names, err := state.Names(filepath.Join(top, "short")); !slices.Equal(names, []string{"a", "b"}) || err != nil {
		t.Errorf("names %q, error %v", names, err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	gone(t, dir)
	if _, err := os.Lstat(filepath.Join(top, "short")); err != nil {
		t.Error(err)
	}
}
