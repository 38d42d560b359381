package journals_test

import (
	"os"
	"path/filepath"
	"testing"

	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage05-images/journals"
)

// leave is what a run of the process with this pid has left: a folder, and the
// journal that says so.
func leave(t *testing.T, dir, pid string) (folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "folder")
	j, err := journal.Open(filepath.Join(dir, pid+".journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.Record("rmdir", folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestARunFinishesWhatAKilledOneHasLeft(t *testing.T) {
	dir := t.TempDir()
	killed := leave(t, dir, "999999999") // above the highest pid, 2^22: proc_sys_kernel(5)
	running := leave(t, dir, "1")
	j, _, err := journals.Begin(dir, journal.Files())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed); !os.IsNotExist(err) {
		t.Errorf("the folder of the killed run is there: %v", err)
	}
	if _, err := os.Stat(running); err != nil {
		t.Errorf("the folder of the other run: %v", err)
	}
	if err := j.Undo(journal.Files()); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("journals left: %q, %v; want that of the other run alone", left, err)
	}
}
