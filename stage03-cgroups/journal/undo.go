// Undoing: the entries are unmade newest first, because later things stand on
// earlier ones (a mount on a folder, a cgroup in a cgroup). What could not be
// unmade stays in the file. The file is replaced with rename(2), which is
// atomic: a process that is killed here leaves the old list or the new one,
// never half of one; the old one only repeats work that is already done.

package journal

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Undoers says how each kind of entry is unmade. An undoer gets the arguments
// of the entry. It must be idempotent: a thing that is not there is a success.
type Undoers map[string]func(args []string) error

// Undo unmakes everything in the journal, newest first, and goes on after a
// failure, so that one stubborn mount does not keep a cgroup alive.
//
// When nothing is left, the file is removed and the journal closed. Otherwise
// the entries that failed stay, for the next Undo to finish, and the errors
// are returned joined; the journal can be used on. An entry whose kind u does
// not know counts as failed.
func (j *Journal) Undo(u Undoers) error {
	var left []Entry
	var failed []error
	for _, e := range slices.Backward(j.entries) {
		if err := undo(u, e); err != nil {
			failed = append(failed, err)
			left = append(left, e)
		}
	}
	slices.Reverse(left)
	switch {
	case len(left) == 0:
		failed = append(failed, j.remove())
	case len(left) < len(j.entries):
		failed = append(failed, j.replace(left))
	}
	return errors.Join(failed...)
}

// undo unmakes one entry.
func undo(u Undoers, e Entry) error {
	f, ok := u[e.Undo]
	if !ok {
		err := fmt.Errorf("undo %q: unknown kind of journal entry", e.Undo)
		known := strings.Join(slices.Sorted(maps.Keys(u)), ", ")
		return hint.Add(err, "this program knows "+known+"; a newer one may have written the journal")
	}
	if err := f(e.Args); err != nil {
		return fmt.Errorf("undo %q: %w", e.Undo, err)
	}
	return nil
}

// remove removes the file, and the new one of a replace that was killed.
func (j *Journal) remove() error {
	j.entries = nil
	for _, name := range []string{j.path + newSuffix, j.path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove journal %q: %w", name, hint.Reason(err))
		}
	}
	return j.Close()
}

// newSuffix names the file that is about to replace the journal.
const newSuffix = ".new"

// replace writes entries to a new file beside the journal and renames it over
// the journal.
func (j *Journal) replace(entries []Entry) error {
	var text []byte
	for _, e := range entries {
		line, err := encode(e)
		if err != nil {
			return err
		}
		text = append(text, line...)
	}
	// No O_EXCL: a killed process may have left the file, and it is ours.
	name := j.path + newSuffix
	flags := os.O_RDWR | os.O_CREATE | os.O_TRUNC | os.O_APPEND | unix.O_NOFOLLOW
	file, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return fmt.Errorf("open journal %q: %w", name, hint.Reason(err))
	}
	if _, err = file.Write(text); err == nil {
		err = os.Rename(name, j.path)
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("replace journal %q: %w", j.path, hint.Reason(err))
	}
	err = j.Close()
	j.file, j.entries = file, entries
	return err
}
