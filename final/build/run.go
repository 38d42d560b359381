package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"

	"skiff.example/final/engine"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage04-overlay/overlay"
	"skiff.example/stage05-images/image"
)

// RUN and WORKDIR: the image is changed by whoever runs in it.

// run does RUN, unless it was done before.
func (b *builder) run(ctx context.Context, s *stage, c *instructions.RunCommand) error {
	command := s.commandLine(c.ShellDependantCmdLine)
	env := s.runVariables(b.Args)
	key := b.key(s.key, "RUN", fmt.Sprintf("%q %q", command, env))
	if b.cached(s, key) {
		b.say(c.String(), "CACHED ")
		return nil
	}
	b.say(c.String(), "")
	if len(s.dirs) == 0 {
		return errors.New("the image is empty: there is no program to run")
	}
	return b.change(ctx, s, key, c.String(), engine.Options{Entrypoint: command, Env: env, Network: b.Network})
}

// change runs a command in a container on the image so far. When it has ended well,
// the upper directory of its overlay becomes the next layer.
func (b *builder) change(ctx context.Context, s *stage, key, text string, o engine.Options) error {
	o.Image = "of the step before"
	img := &image.Image{Layers: s.dirs, Config: s.config.Image}
	img.Config.Config = s.config.Config.ImageConfig
	status, err := b.engine.Change(ctx, img, o, func(upper string) error {
		return b.layer(ctx, s, key, text, func(w io.Writer) error {
			return layer.Write(w, upper, b.layerOptions()...)
		})
	})
	if err == nil && status != 0 {
		err = fmt.Errorf("the command ended with exit status %d", status)
	}
	return err
}

// runVariables are the ARGs, for RUN alone: the image does not keep them. ENV hides
// them.
func (s *stage) runVariables(args map[string]string) []string {
	v := maps.Clone(s.args)
	for name := range proxies {
		if value, ok := args[name]; ok {
			v[name] = value
		}
	}
	hidden := (&stage{args: variables{}, config: s.config}).variables()
	var env []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if _, ok := hidden[name]; !ok {
			env = append(env, name+"="+v[name])
		}
	}
	return env
}

// layerOptions are those of every layer that is made of a directory.
func (b *builder) layerOptions() (options []layer.WriteOption) {
	if overlay.WithoutRoot() {
		options = append(options, layer.UserXattr())
	}
	if b.Epoch != nil {
		options = append(options, layer.FixedTime(*b.Epoch))
	}
	return options
}

// workdir does WORKDIR: the directory is made if the image does not have it.
func (b *builder) workdir(ctx context.Context, s *stage, text, dir string) error {
	dir = s.within(dir)
	s.config.Config.WorkingDir = dir
	key := b.key(s.key, "WORKDIR", dir)
	if b.cached(s, key) {
		b.say(text, "CACHED ")
		return nil
	}
	b.say(text, "")
	v, err := s.look()
	if err != nil {
		return err
	}
	defer v.Close()
	mode, err := v.mode(dir, 0)
	if err != nil {
		return err
	}
	if mode != 0 && mode != unix.S_IFDIR {
		return fmt.Errorf("%q of the image is no directory", dir)
	}
	if mode != 0 {
		s.key = key
		s.note(text)
		return nil
	}
	return b.layer(ctx, s, key, text, func(w io.Writer) error {
		p := newPacker(w, b.now(), &origin{}).to(w, v, false, dir)
		return errors.Join(p.parents(dir, true), p.tar.Close())
	})
}
