package layer_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// Any directory, packed and unpacked, is the same again: contents, modes,
// owners, times, attributes and links. And packed again it is the same bytes.
func TestRandomTreesComeBack(t *testing.T) {
	testkit.HostUnchanged(t)
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewSource(seed))
	for range 25 {
		dir := t.TempDir()
		tree := &randomTree{random, []string{dir}, nil}
		for i := range 60 {
			if err := tree.grow(i); err != nil {
				t.Fatal(err)
			}
		}
		if err := tree.finish(); err != nil {
			t.Fatal(err)
		}
		packed := pack(t, dir)
		again := apply(t, packed)
		same(t, attributes(t, again), attributes(t, dir))
		if !bytes.Equal(pack(t, again), packed) {
			t.Error("packed again, it is not the same")
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// randomTree is a directory of random files.
type randomTree struct {
	*rand.Rand
	dirs, files []string
}

// grow makes one more file, the i-th.
func (r *randomTree) grow(i int) error {
	odd := []string{"plain", "-n", "ü", "with space ", "new\nline", "..a", ".whx", "\xff\xfe", `back\slash`, "%s", "a=b"}
	path := fmt.Sprintf("%s/%s%d", r.dirs[r.Intn(len(r.dirs))], odd[r.Intn(len(odd))], i)
	var err error
	switch kind := r.Intn(12); {
	case kind < 3:
		r.dirs = append(r.dirs, path)
		return os.Mkdir(path, 0o755)
	case kind < 7:
		err = r.file(path)
	case kind == 7:
		err = os.Symlink(fmt.Sprintf("../%d//./x/", i), path)
	case kind == 8:
		err = unix.Mkfifo(path, 0o600)
	case kind == 9:
		device := unix.Mkdev(uint32(1+r.Intn(4095)), uint32(r.Intn(1<<20)))
		err = unix.Mknod(path, []uint32{unix.S_IFCHR, unix.S_IFBLK}[r.Intn(2)]|0o600, int(device))
	case len(r.files) > 0:
		return os.Link(r.files[r.Intn(len(r.files))], path)
	default:
		err = os.WriteFile(path, nil, 0o600)
	}
	r.files = append(r.files, path)
	return err
}

// file makes a regular file, perhaps with a hole.
func (r *randomTree) file(path string) error {
	content := make([]byte, r.Intn(1<<r.Intn(15)))
	r.Read(content)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, int64(r.Intn(2)*r.Intn(1<<16)))
	return errors.Join(err, f.Close())
}

// finish gives the files attributes, what is in a directory before it.
func (r *randomTree) finish() error {
	for _, path := range r.files {
		if err := r.attributes(path); err != nil {
			return err
		}
	}
	for i := range r.dirs {
		if err := r.attributes(r.dirs[len(r.dirs)-1-i]); err != nil {
			return err
		}
	}
	return nil
}

// attributes gives a file a random owner, mode, time, and extended attributes.
func (r *randomTree) attributes(path string) error {
	var st unix.Stat_t
	id := func() int { return []int{0, 1000, 1<<31 + r.Intn(1000), 1<<32 - 2}[r.Intn(4)] }
	if err := errors.Join(os.Lchown(path, id(), id()), unix.Lstat(path, &st)); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFLNK {
		if err := unix.Chmod(path, uint32(r.Intn(1<<12))); err != nil {
			return err
		}
	}
	values := map[string]string{}
	if r.Intn(4) == 0 {
		values["trusted.skiff"] = string([]byte{byte(r.Intn(256)), 0, '\n', '='})
	}
	if kind == unix.S_IFREG && r.Intn(4) == 0 {
		values["security.capability"], values["user.x y"] = capNetRaw, "1"
	}
	for name, value := range values {
		if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	at := unix.Timespec{Sec: int64(r.Intn(1<<33)) - 1<<31, Nsec: int64(r.Intn(1e9))}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}
