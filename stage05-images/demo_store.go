package main

// The second half of the demonstration: what can be done with a store, without any
// registry. An image travels in a file, loses its name and its files, and is mended.

import (
	"errors"
	"os"
	"path/filepath"

	"skiff.example/stage05-images/demoimage"
)

func (s *show) carry() {
	s.Part("Carry it: an archive")
	file, second := filepath.Join(s.root, "demo.tar"), filepath.Join(s.root, "second")
	s.Run("stage05 save -o demo.tar "+s.ref, s.on(filepath.Join(s.root, "first"), "save", "-o", file, s.ref))
	s.Say("One file, which docker load, podman load and skopeo read as well. Carried to")
	s.Say("the other machine, it needs no cable:")
	s.Run("stage05 load -i demo.tar", s.on(second, "load", "-i", file))
	s.Run("stage05 run "+s.ref+" cat /"+demoimage.Motd, s.on(second, "run", s.ref, "cat", "/"+demoimage.Motd))
}

func (s *show) mend() {
	s.Part("Attack: somebody changes a file of an unpacked layer")
	s.Say("On the first machine, by hand, behind the store's back:")
	s.Fail(s.scribble())
	s.Run(s.stage05("run", s.ref, "cat", "/"+demoimage.Motd))
	s.Say("No run looks at every file, for that would take as long as unpacking it. fsck")
	s.Say("does: it unpacks each layer's blob again, beside it, and compares.")
	s.RunRefused(s.stage05("fsck"))
	s.Run(s.stage05("fsck", "--repair"))
	s.Run(s.stage05("run", s.ref, "cat", "/"+demoimage.Motd))
}

// scribble overwrites the greeting in every unpacked layer that has one.
func (s *show) scribble() error {
	greetings, err := filepath.Glob(filepath.Join(s.root, "first/images/layers/sha256/*", demoimage.Motd))
	for _, file := range greetings {
		err = errors.Join(err, os.WriteFile(file, []byte("Welcome to my botnet.\n"), 0o644))
	}
	return err
}

func (s *show) forget() {
	s.Part("Remove it")
	s.Run(s.stage05("tag", s.ref, "keepsake"))
	s.Run(s.stage05("rmi", s.ref))
	s.Say("It has another name, so nothing of it goes. With the last name, all of it does:")
	s.Run(s.stage05("rmi", "keepsake"))
	s.Run(s.stage05("fsck"))
}
