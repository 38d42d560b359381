package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
)

// The demonstration of chapter 4: a layer that tries to write outside of its
// directory, two containers on the same layers, and a container's changes
// that become a layer. All of it happens in a temporary folder.

// stage is where the demonstration happens.
type stage struct {
	*narrate.Stage
	aside io.Writer // for what differs from machine to machine
}

// demo shows the chapter to w, and leaves the host as it was. Ctrl-C ends ctx,
// that ends the command that runs, and what is deferred here cleans up.
func demo(ctx context.Context, w, aside io.Writer) (err error) {
	if err := command.NeedRoot("the demonstration", "containers and overlay mounts"); err != nil {
		return err
	}
	if err := command.NeedPrograms("the demonstration", tools...); err != nil {
		return err
	}
	base, err := narrate.NewStage(ctx, w, "stage04", "--state", "state")
	if err != nil {
		return err
	}
	s := &stage{base, aside}
	defer func() {
		left := state.Collect(s.Path("state"), journal.Files(), func(string, []journal.Entry) {})
		// Should an overlay still be mounted there, this does not empty it.
		err = errors.Join(err, left, journal.RemoveAll(s.Dir))
	}()
	s.attack()
	s.layers()
	s.share()
	s.changes()
	s.copyUp()
	s.commit()
	s.throwAway()
	s.hundred()
	s.others()
	s.without()
	s.killed()
	return s.Err()
}

// tools are the programs that the demonstration takes from the host.
var tools = []string{"sh", "cat", "cmp", "grep", "ls", "mkdir", "rm", "sed", "sleep", "stat", "tar"}

// attack unpacks a hostile layer twice: as one would think of first, and well.
func (s *stage) attack() {
	s.Part("attack: a layer that writes outside")
	s.Say("Somebody's layer. Its first entry is a symbolic link, and its second one goes through it:")
	s.archive("evil.tar",
		entry{tar.Header{Typeflag: tar.TypeSymlink, Name: "out", Linkname: "..", Mode: 0o777}, ""},
		file("out/secret", "written by the layer\n"))
	s.Do(`echo "the host's own" > secret`)
	s.Do("tar tf evil.tar")
	s.Say("Unpacked by joining the directory and each name, as a first attempt would do:")
	s.Fail(naive(s.Path("evil.tar"), s.Path("naive")))
	s.Do("cat secret")
	s.Say("Unpacked by walking each name from an open directory, with links read as seen from")
	s.Say("inside, where \"..\" of the root is the root:")
	s.Do(`echo "the host's own" > secret`)
	s.Do("stage04 unpack evil.tar safe")
	s.Do("cat secret")
	s.Do("cat safe/secret")
}

// naive unpacks a tar file as it should not be done.
func naive(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := naiveEntry(dir, header, r); err != nil {
			return fmt.Errorf("unpack %q: %w", header.Name, err)
		}
	}
}

// naiveEntry makes one entry. No ".." gets by, and yet the layer gets out: the
// kernel follows the link that an earlier entry has made.
func naiveEntry(dir string, header *tar.Header, data io.Reader) error {
	name := filepath.Join(dir, filepath.Clean("/"+header.Name))
	if header.Typeflag == tar.TypeSymlink {
		return os.Symlink(header.Linkname, name)
	}
	text, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// layers makes two layers: programs, and an application's files above them.
func (s *stage) layers() {
	s.Part("layers")
	s.Say("Two layers: programs of this host, and above them the files of an application:")
	s.programs("base.tar", "sh", "ls", "cat", "rm", "mkdir", "sleep", "stat")
	s.archive("app.tar", file("srv/greeting", "hello from the image\n"), file("srv/notes", "to be deleted\n"),
		file("srv/cache/old", "to be replaced\n"), file("srv/data", strings.Repeat("12345678", 1<<20)))
	s.Do("stage04 unpack base.tar base")
	s.Do("tar tf app.tar")
	s.Do("stage04 unpack --lower base app.tar app")
}

// share runs two containers on the same layers.
func (s *stage) share() {
	s.Part("two containers, the same layers")
	s.Say("The first one changes a file, deletes another, and makes a directory anew:")
	s.Do(`stage04 run --lower app:base --writable alice sh -c 'cd /srv; echo "alice was here" > greeting; rm notes; rm -r cache; mkdir cache; ls'`)
	s.Say("The second one sees the layers as they are:")
	s.Do("stage04 run --lower app:base --writable bob sh -c 'cd /srv; cat greeting; ls'")
	s.Say("So they are:")
	s.Do("cat app/srv/greeting app/srv/notes")
}

// changes shows what is in the upper directory.
func (s *stage) changes() {
	s.Part("what has changed")
	s.Say("What the first container has changed is in its upper directory, and nothing else.")
	s.Say("The deleted file is a whiteout, a character device with the numbers 0 and 0:")
	s.Do("ls alice/upper alice/upper/srv alice/upper/srv/cache")
	s.Do("stat -c '%F %t,%T' alice/upper/srv/notes")
	s.Say("In a layer the same thing is said by a name. So is the new directory's being opaque: of")
	s.Say("the one below nothing shows through. Overlayfs has an extended attribute for that:")
	s.Do("stage04 diff alice")
}

// copyUp appends to a large file.
func (s *stage) copyUp() {
	s.Part("copy-up")
	s.Say("A file of 8 MiB, and one byte more. Before the first write all of it is copied:")
	s.Do("stage04 run --lower app:base --writable bob sh -c 'cd /srv; printf 9 >> data'")
	s.Do("stat -c '%s %n' app/srv/data bob/upper/srv/data")
	s.Say("What a container on this writable layer sees, topmost first (without the sizes, which differ")
	s.Say("from machine to machine):")
	s.Do("stage04 layers bob | sed 's|.*/||'")
}

// commit makes a layer of a container's changes.
func (s *stage) commit() {
	s.Part("changes become a layer")
	s.Say("Packed, it is a layer that anybody can put above the others:")
	s.Do("stage04 pack alice > alice.tar")
	s.Do("stage04 unpack --lower app:base alice.tar changed")
	s.Do("stage04 run --lower changed:app:base sh -c 'cd /srv; cat greeting; ls . cache'")
	s.Say("Both in one step, and with the digest by which the rest of the world knows the layer:")
	s.Do("stage04 commit alice again | sed 's/[0-9a-f]\\{64\\}/DIGEST/'")
}

// throwAway shows that without --writable nothing stays.
func (s *stage) throwAway() {
	s.Part("and else they go")
	s.Say("Without --writable a container's changes end with it. It may do what it likes:")
	s.Do("stage04 run --lower app:base sh -c 'rm -r /srv; test -e /srv || echo /srv is gone'")
	s.Do("stage04 run --lower app:base cat /srv/greeting")
	s.Do("test -e state || echo nothing is left")
}

// programs writes a layer with programs of this host.
func (s *stage) programs(name string, programs ...string) {
	closure, err := rootfs.FromPrograms(programs...)
	if err != nil {
		s.Fail(err)
		return
	}
	f, err := os.Create(s.Path(name))
	if err != nil {
		s.Fail(err)
		return
	}
	s.Fail(errors.Join(closure.Tar(f), f.Close()))
}

// entry is one entry of a tar file.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

// archive writes a layer with these entries.
func (s *stage) archive(name string, entries ...entry) {
	f, err := os.Create(s.Path(name))
	if err != nil {
		s.Fail(err)
		return
	}
	w := tar.NewWriter(f)
	for _, e := range entries {
		s.Fail(w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.data)
		s.Fail(err)
	}
	s.Fail(errors.Join(w.Close(), f.Close()))
}
