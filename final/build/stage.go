package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage05-images/image"
)

// A stage on its way: the image as it is so far, and the instructions that change
// nothing but its configuration.

// stage is what a stage has come to.
type stage struct {
	key    string // of all that has made it, see cache.go
	config dockerspec.DockerOCIImage
	blobs  []ocispec.Descriptor // of the layers, lowest first
	dirs   []string             // their folders, topmost first
	args   variables            // of ARG
	cmdSet bool                 // CMD was in this recipe
}

// clone is the stage for another one to begin from.
func (s *stage) clone() (*stage, error) {
	c := &stage{key: s.key, blobs: slices.Clone(s.blobs), dirs: slices.Clone(s.dirs), args: maps.Clone(s.args)}
	raw, err := json.Marshal(s.config)
	if err == nil {
		err = json.Unmarshal(raw, &c.config)
	}
	return c, err
}

// from begins a stage.
func (b *builder) from(ctx context.Context, words *instructions.Stage) (*stage, error) {
	b.say(words.SourceCode, "")
	if err := checkPlatform(words.Platform); err != nil {
		return nil, err
	}
	if i, ok := instructions.HasStage(b.recipe.stages, words.BaseName); ok && b.done[i] != nil {
		return b.done[i].clone()
	}
	if words.BaseName == "scratch" {
		s := &stage{args: variables{}}
		s.config.Platform = image.HostPlatform()
		s.config.RootFS.Type = "layers"
		s.key = b.key("", "scratch")
		return s, nil
	}
	return b.fromImage(ctx, words.BaseName)
}

// fromImage is the stage that an image is, pulled if need be.
func (b *builder) fromImage(ctx context.Context, name string) (*stage, error) {
	img, err := b.engine.FindOrPull(ctx, b.store, name, ocispec.Platform{})
	if err != nil {
		return nil, err
	}
	if want := image.HostPlatform(); !image.Matches(img.Config.Platform, want) {
		return nil, image.WrongPlatform(want, []ocispec.Platform{img.Config.Platform})
	}
	details, err := b.store.Inspect(img.Digest.String())
	if err != nil {
		return nil, err
	}
	raw, err := b.store.ReadJSON(details.Manifest.Config)
	if err != nil {
		return nil, err
	}
	s := &stage{dirs: img.Layers, args: variables{}, key: b.key("", img.Digest.String())}
	if err := json.Unmarshal(raw, &s.config); err != nil {
		return nil, fmt.Errorf("configuration of image %q: %w", name, err)
	}
	if len(s.config.Config.OnBuild) > 0 {
		return nil, fmt.Errorf("image %q has ONBUILD instructions, and skiff does not do them: %q", name, s.config.Config.OnBuild)
	}
	for _, l := range details.Manifest.Layers {
		s.blobs = append(s.blobs, ocispec.Descriptor{MediaType: ociLayer(l.MediaType), Digest: l.Digest, Size: l.Size})
	}
	return s, nil
}

// variables are those that an instruction sees: ENV hides ARG.
func (s *stage) variables() variables {
	v := maps.Clone(s.args)
	for _, e := range s.config.Config.Env {
		name, value, _ := strings.Cut(e, "=")
		v[name] = value
	}
	return v
}

// do does one instruction.
func (b *builder) do(ctx context.Context, s *stage, command instructions.Command) error {
	text := source(command)
	v := s.variables()
	if c, ok := command.(instructions.SupportsSingleWordExpansion); ok {
		if _, isArg := command.(*instructions.ArgCommand); !isArg {
			if err := c.Expand(func(word string) (string, error) { return b.recipe.expand(word, v) }); err != nil {
				return err
			}
		}
	}
	switch c := command.(type) {
	case *instructions.RunCommand:
		return b.run(ctx, s, c)
	case *instructions.CopyCommand:
		return b.copy(ctx, s, text, copying{SourcesAndDest: c.SourcesAndDest, from: c.From, chown: c.Chown, chmod: c.Chmod})
	case *instructions.AddCommand:
		return b.copy(ctx, s, text, copying{SourcesAndDest: c.SourcesAndDest, add: true, chown: c.Chown, chmod: c.Chmod})
	case *instructions.WorkdirCommand:
		return b.workdir(ctx, s, text, c.Path)
	}
	b.say(text, "")
	if err := b.configure(s, command, v); err != nil {
		return err
	}
	config, err := json.Marshal(s.config.Config)
	if err != nil {
		return err
	}
	s.key = b.key(s.key, text, string(config))
	s.note(text)
	return nil
}

// configure does what makes no layer.
func (b *builder) configure(s *stage, command instructions.Command, v variables) error {
	if c, ok := command.(*instructions.ArgCommand); ok {
		return b.recipe.declare(c, s.args, v, b.Args, b.used)
	}
	return s.configure(command, func(word string) (string, error) { return b.recipe.expand(word, v) })
}

// note puts a step that made no layer into the history. Its time is that of the
// layer before: a build of which all is cached gives the same image again.
func (s *stage) note(text string) {
	s.config.History = append(s.config.History, ocispec.History{Created: s.config.Created, CreatedBy: text, Comment: comment, EmptyLayer: true})
}

// configure does the instructions that change the configuration only.
func (s *stage) configure(command instructions.Command, expand instructions.SingleWordExpander) error {
	config := &s.config.Config
	var err error
	switch c := command.(type) {
	case *instructions.EnvCommand:
		for _, pair := range c.Env {
			if config.Env, err = image.Environment(config.Env, []string{pair.String()}); err != nil {
				return err
			}
		}
	case *instructions.LabelCommand:
		for _, pair := range c.Labels {
			put(&config.Labels, pair.Key, pair.Value)
		}
	case *instructions.UserCommand:
		config.User = c.User
	case *instructions.CmdCommand:
		config.Cmd, s.cmdSet = s.commandLine(c.ShellDependantCmdLine), true
	case *instructions.EntrypointCommand:
		config.Entrypoint = s.commandLine(c.ShellDependantCmdLine)
		if !s.cmdSet {
			config.Cmd = nil // the base image's was for its own entrypoint
		}
	case *instructions.ExposeCommand:
		return s.expose(c.Ports, expand)
	case *instructions.VolumeCommand:
		for _, v := range c.Volumes {
			put(&config.Volumes, v, struct{}{})
		}
		_, err = image.Volumes(config.ImageConfig)
	case *instructions.StopSignalCommand:
		config.StopSignal = c.Signal
		_, err = image.StopSignal(config.ImageConfig)
	case *instructions.HealthCheckCommand:
		config.Healthcheck = c.Health
	case *instructions.ShellCommand:
		config.Shell = c.Shell
	default:
		return errors.New("is not supported")
	}
	return err
}

// put puts a value into a map that may not be there yet.
func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

// commandLine is a command, in the shell if it is not written as a list.
func (s *stage) commandLine(c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell {
		return c.CmdLine
	}
	shell := s.config.Config.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return slices.Concat(shell, []string{strings.Join(c.CmdLine, " ")})
}

// expose adds ports: PORT[-PORT][/PROTOCOL].
func (s *stage) expose(words []string, expand instructions.SingleWordExpander) error {
	for _, word := range words {
		text, err := expand(word)
		if err != nil {
			return err
		}
		ports, protocol, ok := strings.Cut(text, "/")
		if !ok {
			protocol = "tcp"
		}
		first, last, ranged := strings.Cut(ports, "-")
		if !ranged {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		protocol = strings.ToLower(protocol)
		if err = errors.Join(err, err2); err != nil || from > to || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
			return fmt.Errorf("port %q: want PORT[-PORT][/tcp|udp|sctp]", text)
		}
		for port := from; port <= to; port++ {
			put(&s.config.Config.ExposedPorts, fmt.Sprintf("%d/%s", port, protocol), struct{}{})
		}
	}
	return nil
}

// within is a path in the image, which begins in the working directory.
func (s *stage) within(name string) string {
	if !path.IsAbs(name) {
		name = path.Join("/", s.config.Config.WorkingDir, name)
	}
	return path.Clean(name)
}
