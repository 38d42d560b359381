// Package journal remembers what a container leaves on the host.
//
// Most of a container vanishes with its last process: namespaces, the mounts
// in them, descriptors. Cgroups, veth pairs, firewall rules, overlay mounts
// and folders do not. A program that makes such a thing and is killed before
// it can clean up leaves it behind for ever. So each one is written down here,
// with how to unmake it, before it is made:
//
//	j, err := journal.Open("/run/skiff/web/journal")
//	err = j.Record("rmdir", "/run/skiff/web/root") // first the line ...
//	err = os.Mkdir("/run/skiff/web/root", 0o700)   // ... then the thing
//
// Whoever comes next opens the same file and calls Undo. The last line may
// speak of a thing that was never made, and an earlier Undo may have been
// killed half way: that is why every undoer takes "it is not there" as success.
//
// The kernel keeps what write(2) was given even if the writer is killed in the
// next instant: the bytes are in the page cache, and the page cache belongs to
// the kernel, not to the process. So kill -9 loses nothing and no fsync(2) is
// needed. Only a crash of the machine would lose lines; but the journal lives
// on a tmpfs (/run), and cgroups, mounts and veth pairs are in memory as well:
// after a crash all of them are gone together.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Entry is one line of the journal: a thing that may be on the host.
type Entry struct {
	Undo string   `json:"undo"`           // the kind of undoer: "rmdir", "cgroup", ...
	Args []string `json:"args,omitempty"` // which thing, in the words of that undoer
}

// Journal is an open journal file. It is for one goroutine of one process at a
// time: the owner of a container holds that container's lock.
type Journal struct {
	path    string
	file    *os.File // nil once closed
	entries []Entry
}

// Open opens the journal at path, an absolute path in a folder that exists,
// and reads what a killed process left in it. A journal that does not exist is
// created, readable and writable by its owner only.
//
// A last line without its newline is dropped: its writer was killed during
// the write, hence before it made the thing. Any other line that cannot be
// read is an error, because guessing what to unmake is worse than stopping; and
// a file that is not this user's, or that others may write to, is one as well.
// Of a file that is no journal nothing is changed.
func Open(path string) (*Journal, error) {
	// O_NOFOLLOW: a journal says what to delete as root, so it must be the
	// very file that was meant. O_NONBLOCK: to open a FIFO must not take for ever.
	flags := os.O_RDWR | os.O_CREATE | os.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal %q: %w", path, hint.Reason(err))
	}
	j := &Journal{path: path, file: file}
	err = j.trusted()
	if err == nil {
		err = j.read()
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return j, nil
}

// most is how long a journal may be, in bytes. A container has some ten entries.
const most = 1 << 20

// trusted is an error unless the file can be a journal of ours: an ordinary one
// that nobody else may write to, here or by another name.
func (j *Journal) trusted() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(j.file.Fd()), &st); err != nil {
		return fmt.Errorf("look at journal %q: %w", j.path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 || st.Nlink != 1 || st.Size > most {
		err := fmt.Errorf("open journal %q: %w: it is none of ours", j.path, unix.EPERM)
		return hint.Add(err, "a journal is a file of this user with one name, that nobody else may write to: look at it, and remove it")
	}
	return nil
}

// begin is how the line of an entry begins.
const begin = `{"undo":"`

// read fills entries from the file and cuts a torn last line off.
func (j *Journal) read() error {
	text, err := io.ReadAll(j.file)
	if err != nil {
		return fmt.Errorf("read journal %q: %w", j.path, hint.Reason(err))
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	for line := range bytes.Lines(text[:whole]) {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read journal %q: line %d: %w", j.path, len(j.entries)+1, err)
		}
		j.entries = append(j.entries, e)
	}
	torn := string(text[whole:])
	switch {
	case torn == "":
		return nil
	case !strings.HasPrefix(torn, begin) && !strings.HasPrefix(begin, torn):
		return fmt.Errorf("read journal %q: line %d: it is not the begin of an entry", j.path, len(j.entries)+1)
	}
	// The next Record would continue the torn line, and both would be lost.
	return j.cut(int64(whole))
}

// cut shortens the file to size bytes.
func (j *Journal) cut(size int64) error {
	if err := j.file.Truncate(size); err != nil {
		return fmt.Errorf("truncate journal %q: %w", j.path, hint.Reason(err))
	}
	return nil
}

// Record writes down that the undoer called undo, given args, unmakes what the
// caller is about to make. Call it before making the thing, never after: a
// process can be killed between any two system calls.
//
// The line is a single write(2) in O_APPEND mode. The kernel may still stop it
// half way (a fatal signal between two pages, or a full tmpfs): a process that
// lives to see that takes the half line back.
//
// A path may be any bytes, but JSON is made of letters, and would keep others as
// U+FFFD: another path, which is perhaps somebody's. So args must be UTF-8.
func (j *Journal) Record(undo string, args ...string) error {
	if j.file == nil {
		return fmt.Errorf("record %q in journal %q: %w", undo, j.path, fs.ErrClosed)
	}
	for _, arg := range append([]string{undo}, args...) {
		if !utf8.ValidString(arg) {
			return fmt.Errorf("record %q in journal %q: %q: %w: not UTF-8", undo, j.path, arg, unix.EILSEQ)
		}
	}
	e := Entry{Undo: undo, Args: slices.Clone(args)}
	line, err := encode(e)
	if err != nil {
		return err
	}
	info, err := j.file.Stat()
	if err != nil {
		return fmt.Errorf("stat journal %q: %w", j.path, hint.Reason(err))
	}
	n, err := unix.Write(int(j.file.Fd()), line)
	if err == nil && n < len(line) {
		err = unix.ENOSPC
	}
	if err != nil {
		err = fmt.Errorf("record %q in journal %q: %w", undo, j.path, err)
		return errors.Join(err, j.cut(info.Size()))
	}
	j.entries = append(j.entries, e)
	return nil
}

// encode returns e as one line of JSON. JSON writes a newline inside a string
// as \n, so a path with a newline in it cannot forge a line.
func encode(e Entry) ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode journal entry %q: %w", e.Undo, err)
	}
	return append(line, '\n'), nil
}

// Entries returns what the journal holds, oldest first.
func (j *Journal) Entries() []Entry {
	return slices.Clone(j.entries)
}

// Path returns where the journal's file is.
func (j *Journal) Path() string { return j.path }

// Close closes the file and leaves it where it is. Closing twice is fine.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}
