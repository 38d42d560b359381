package main

// The demonstration: an image of three layers is made of this host's programs,
// served, pulled, run, pulled again, and tampered with on the way. All of it
// takes place on loopback and in one temporary folder.

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage05-images/demoimage"
	"skiff.example/stage05-images/registry"
)

// show is what the parts of the demonstration share.
type show struct {
	*narrate.Demo
	ctx   context.Context
	root  string // of the first machine
	ref   string // of the image
	image v1.Image
	cable *cable // between the registry and us
}

// demo sets the stage, plays the parts, and clears away.
func demo(c *cli.Context, _ []string) (err error) {
	if err := command.NeedRoot("the demonstration", "containers and overlay mounts"); err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "stage05-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	server, stop, err := registry.Serve(c.Context, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	cable, err := newCable(server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cable.Close()) }()
	img, err := demoimage.Build()
	if err != nil {
		return err
	}
	s := &show{narrate.New(c.App.Writer), c.Context, root, cable.address() + "/demo", img, cable}
	s.make()
	s.pull()
	s.runIt()
	s.pullAgain()
	s.tamper()
	s.carry()
	s.mend()
	s.forget()
	return s.Err()
}

// stage05 runs this program; what the audience sees leaves --root out.
func (s *show) stage05(args ...string) (shown string, cmd *exec.Cmd) {
	return "stage05 " + quote(args), s.on(filepath.Join(s.root, "first"), args...)
}

// on is a command of this program with a store of its own.
func (s *show) on(root string, args ...string) *exec.Cmd {
	args = append([]string{args[0], "--root", root}, args[1:]...)
	cmd := exec.CommandContext(s.ctx, "/proc/self/exe", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it clears away what it has made
	return cmd
}

// quote writes arguments as one would type them.
func quote(args []string) string {
	words := append([]string{}, args...)
	for i, word := range words {
		if strings.ContainsAny(word, " $>;") {
			words[i] = "'" + word + "'"
		}
	}
	return strings.Join(words, " ")
}

func (s *show) make() {
	s.Part("An image of three layers")
	s.Say("Programs of this host, with their libraries, become two layers. The third")
	s.Say("is a correction. It holds nothing but what has changed:")
	s.Fail(s.showImage())
	s.Say("The manifest names each layer by the hash of its bytes, and the image is")
	s.Say("named by the hash of the manifest. It goes to a registry on loopback.")
	s.Fail(registry.Push(s.ctx, s.image, s.ref))
}

// showImage shows the layers' names and sizes, and what is in the last one.
func (s *show) showImage() error {
	layers, err := s.image.Layers()
	if err != nil {
		return err
	}
	for i, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return err
		}
		size, err := l.Size()
		if err != nil {
			return err
		}
		s.Show(fmt.Sprintf("layer %d  %s:%.12s  %d bytes", i+1, digest.Algorithm, digest.Hex, size))
	}
	names, err := list(layers[len(layers)-1])
	if err != nil {
		return err
	}
	s.Show("layer 3 has: " + strings.Join(names, ", "))
	return nil
}

// list returns the names in a layer.
func list(l v1.Layer) (names []string, err error) {
	content, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	archive := tar.NewReader(content)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		names = append(names, header.Name)
	}
}

func (s *show) pull() {
	s.Part("Pull it over HTTP")
	s.Run(s.stage05("pull", s.ref))
	s.Say("The registry was asked for %d blobs: the configuration and three layers.", s.cable.blobs())
	s.Run(s.stage05("images"))
	s.Run(s.stage05("inspect", "--pretty", s.ref))
	s.Say("A layer's folder is named by what it holds and by the layers below it.")
}

func (s *show) runIt() {
	s.Part("Run it")
	s.Run(s.stage05("run", s.ref, "sh", "-c", "echo process $$ of $(cat /proc/sys/kernel/hostname)"))
	s.Say("What layer 3 has changed is changed, and what it has deleted is gone:")
	s.Run(s.stage05("run", s.ref, "cat", "/"+demoimage.Motd))
	s.RunRefused(s.stage05("run", s.ref, "cat", "/"+demoimage.Secret))
	s.Say("Gone for the container, that is. Who has the image has layer 1 as well: a")
	s.Say("secret that was ever in a layer is published with it.")
	s.Say("What a container writes goes to a layer of its own, and ends with it:")
	s.Run(s.stage05("run", s.ref, "sh", "-c", "echo scribble > /etc/motd; cat /etc/motd"))
	s.Run(s.stage05("run", s.ref, "cat", "/"+demoimage.Motd))
}

func (s *show) pullAgain() {
	s.Part("Pull it again")
	before := s.cable.blobs()
	s.Run(s.stage05("pull", s.ref))
	s.Say("The registry was asked for %d blobs: what has the right hash is the right", s.cable.blobs()-before)
	s.Say("thing, wherever it came from.")
}

func (s *show) tamper() {
	s.Part("Attack: somebody on the cable changes one byte of a layer")
	s.Fail(s.cable.tamper(s.image))
	second := filepath.Join(s.root, "second")
	s.Say("Another machine, whose store is empty, pulls the same image:")
	s.RunRefused("stage05 pull "+s.ref, s.on(second, "pull", s.ref))
	s.Say("What was unpacked of that layer is gone, and the image has no name there:")
	s.Run("stage05 images", s.on(second, "images"))
	s.RunRefused("stage05 run "+s.ref, s.on(second, "run", s.ref))
	s.Say("On the first machine the image is what it was:")
	s.Run(s.stage05("run", s.ref, "cat", "/"+demoimage.Motd))
}
