package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage05-images/demoimage"
	"skiff.example/stage05-images/registry"
	"skiff.example/stage06-network/world"
)

// The demonstration: an image, a pull, a container, and nothing left.

// demo shows the whole; it leaves the host as it was also when it fails, or
// is interrupted.
func demo(w io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	folder, err := os.MkdirTemp("", "skiff-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	outside, err := world.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, outside.Close()) }()
	address, stopRegistry, err := registry.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopRegistry()) }()

	d := narrate.New(w)
	s := &stage{Demo: d, ctx: ctx, folder: folder, world: outside, reference: address + "/demo:1"}
	s.makeImage()
	s.pull()
	s.look()
	s.afterwards()
	return d.Err()
}

// A stage is where the demonstration plays.
type stage struct {
	*narrate.Demo
	ctx       context.Context
	folder    string // holds the store and the state
	world     *world.World
	reference string // of the image
}

// skiff is a command of bin/skiff, which lies beside this program.
func (s *stage) skiff(args ...string) *exec.Cmd {
	self, err := os.Executable()
	s.Fail(err)
	base := []string{"--root", filepath.Join(s.folder, "root"), "--state", filepath.Join(s.folder, "state")}
	cmd := exec.CommandContext(s.ctx, filepath.Join(filepath.Dir(self), "skiff"), append(base, args...)...)
	// SIGTERM, not SIGKILL: skiff then unmakes the container before it ends.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	return cmd
}

// makeImage builds the image and puts it into the registry.
func (s *stage) makeImage() {
	s.Part("An image, made from programs of this host")
	img, err := demoimage.Build()
	if err != nil {
		s.Fail(err)
		return
	}
	layers, err := img.Layers()
	s.Fail(err)
	for i, layer := range layers {
		size, err := layer.Size()
		s.Fail(err)
		s.Show(fmt.Sprintf("layer %d: %d KiB compressed", i+1, (size+1023)/1024))
	}
	s.Say("Layer 3 changes %s and deletes %s of layer 1.", demoimage.Motd, demoimage.Secret)
	s.Fail(registry.Push(s.ctx, img, s.reference))
	s.Say("It is now in a registry on %s.", s.reference)
}

// pull gets it back, over HTTP.
func (s *stage) pull() {
	s.Part("Pull it over HTTP, check every digest, unpack the layers")
	pull := s.skiff("pull", s.reference)
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		s.Run("skiff pull "+s.reference, pull)
		return
	}
	s.Say("$ skiff pull %s", s.reference)
	pull.Stdout, pull.Stderr = os.Stdout, os.Stderr // where its progress bar can move
	s.Fail(pull.Run())
}

// afterwards shows that nothing is left.
func (s *stage) afterwards() {
	s.Part("Afterwards")
	links, err := exec.CommandContext(s.ctx, "ip", "-br", "link", "show", "type", "bridge").CombinedOutput()
	s.Fail(err)
	containers, err := os.ReadDir(filepath.Join(s.folder, "state", "containers"))
	s.Fail(err)
	s.Show(fmt.Sprintf("bridges: %d, containers: %d", len(links), len(containers)))
	if len(links)+len(containers) > 0 {
		s.Fail(errors.New("the container has left something behind"))
	}
	s.Say("The container is gone, and with it its cgroup, its mounts, its address and its rules.")
}
