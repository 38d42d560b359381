// Package journals keeps a folder with one journal for each run of a program,
// so that a run finishes what a killed one has left.
//
// A journal says what to unmake on the host (package journal, chapter 3). Its
// file is named by the pid of the run that it belongs to: as long as there is
// such a process it is left alone.
package journals

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"skiff.example/stage03-cgroups/journal"
)

const suffix = ".journal"

// Begin undoes the journals in dir, an absolute path, whose process is gone,
// and opens one for this process, which may have one at a time. It makes dir
// (mode 0700) if it is not there. The id is unique among the runs in dir as
// long as this process lives.
//
// A pid that belongs to somebody else by now only puts the undoing off.
func Begin(dir string, undoers journal.Undoers) (j *journal.Journal, id string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	id = strconv.Itoa(os.Getpid())
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, "", err
	}
	for _, name := range names {
		pid := strings.TrimSuffix(filepath.Base(name), suffix)
		if pid != id && alive(pid) {
			continue
		}
		if err := undo(name, undoers); err != nil {
			return nil, "", err
		}
	}
	j, err = journal.Open(filepath.Join(dir, id+suffix))
	return j, id, err
}

// alive tells whether there is a process of this pid. One that cannot be
// looked at counts as alive.
func alive(pid string) bool {
	_, err := os.Stat("/proc/" + pid)
	return !errors.Is(err, fs.ErrNotExist)
}

// undo undoes one journal.
func undo(name string, undoers journal.Undoers) error {
	j, err := journal.Open(name)
	if err != nil {
		return err
	}
	err = j.Undo(undoers)
	return errors.Join(err, j.Close())
}
