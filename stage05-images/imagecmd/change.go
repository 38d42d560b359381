package imagecmd

// Changing what is in the store: tag, rmi, save, load, gc, fsck.

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// tag gives an image another name.
func tag(c call) error { return c.store.Tag(c.Context.Context, c.words[0], c.words[1]) }

// remove removes images. One that a container runs on keeps its content in any case,
// until the container has ended; that this is so has to be said.
func remove(c call) error {
	var errs []error
	for _, word := range c.words {
		gone, err := c.store.Remove(c.Context.Context, word, func(d digest.Digest) error {
			if users := c.users[d]; len(users) > 0 && !c.Bool("force") {
				return hint.Add(fmt.Errorf("it is in use by container %s", strings.Join(users, ", ")),
					"end the container, or remove the name with --force: the files then go when the container has ended")
			}
			return nil
		})
		errs = append(errs, err)
		for _, e := range gone {
			if e.Reference != "" {
				fmt.Fprintln(c.out, "Untagged:", clean(image.FamiliarTagged(e.Reference)))
			}
		}
		if err == nil && !c.hasImage(gone[0].Digest) {
			fmt.Fprintln(c.out, "Deleted:", gone[0].Digest)
		}
	}
	_, err := c.collect()
	return errors.Join(append(errs, err)...)
}

// hasImage tells whether the image still has a name.
func (c call) hasImage(d digest.Digest) bool {
	entries, _ := c.store.List() // an index that cannot be read is an error of collect
	for _, e := range entries {
		if e.Digest == d {
			return true
		}
	}
	return false
}

// collect removes what nobody needs, or says why it could not.
func (c call) collect() (image.Collected, error) {
	done, err := c.store.Collect(c.used()...)
	if done.Writers > 0 || done.Held {
		fmt.Fprintln(c.App.ErrWriter, "what nobody needs stays for now: a pull or a run is under way")
	}
	return done, err
}

// collect removes what nobody needs.
func collect(c call) error {
	done, err := c.collect()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "removed: %d blobs, %d unpacked layers, %d folders of killed commands\n", done.Blobs, done.Layers, done.Abandoned)
	return nil
}

// save writes an archive. One that is not whole is removed.
func save(c call) (err error) {
	if f := c.String("format"); f != "" && f != "docker-archive" && f != "oci-archive" {
		return hint.Add(fmt.Errorf("save: format %q", f), "the formats are docker-archive and oci-archive")
	}
	name := c.String("output")
	if name == "" {
		if isTerminal(c.out) {
			return hint.Add(errors.New("save: an archive is nothing for a terminal"), "write it to a file: --output FILE")
		}
		return c.store.Save(c.Context.Context, c.out, c.words...)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(c.store.Save(c.Context.Context, f, c.words...), f.Close())
	if info, there := os.Lstat(name); err != nil && there == nil && info.Mode().IsRegular() {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// load reads an archive.
func load(c call) error {
	platform, err := image.ParsePlatform(c.String("platform"))
	if err != nil {
		return err
	}
	var in io.Reader = os.Stdin
	if name := c.String("input"); name != "" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	} else if isTerminal(os.Stdin) {
		return hint.Add(errors.New("load: no archive comes from a terminal"), "read it from a file: --input FILE")
	}
	loaded, err := c.store.Load(c.Context.Context, in, platform)
	if err != nil {
		return fmt.Errorf("load %q: %w", cmp.Or(c.String("input"), "-"), err)
	}
	for _, img := range loaded {
		switch {
		case c.Bool("quiet"):
		case img.Reference == "":
			fmt.Fprintln(c.out, "Loaded image ID:", img.Digest)
		default:
			fmt.Fprintln(c.out, "Loaded image:", image.FamiliarTagged(img.Reference))
		}
	}
	return nil
}

// isTerminal tells whether a file is a terminal: ioctl_tty(2).
func isTerminal(file any) bool {
	f, ok := file.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// check checks the store.
func check(c call) error {
	problems, err := c.store.Check(c.Context.Context, image.CheckOptions{Repair: c.Bool("repair"), Used: c.used()})
	left := 0
	for _, p := range problems {
		repaired := ""
		switch {
		case !p.Repaired:
			left++
		case p.Removed:
			repaired = ": removed"
		default:
			repaired = ": repaired"
		}
		fmt.Fprintf(c.out, "%s: %s%s\n", clean(p.Where), clean(p.Err.Error()), repaired)
	}
	switch {
	case err != nil:
		return err
	case left > 0 && !c.Bool("repair"):
		return hint.Add(fmt.Errorf("fsck: problems: %d", left), "fsck --repair makes again what it can, and removes the rest; the next pull fetches that")
	case left > 0:
		return fmt.Errorf("fsck: problems left: %d", left)
	case len(problems) == 0:
		fmt.Fprintln(c.out, "every file is what its name says")
	}
	return nil
}
