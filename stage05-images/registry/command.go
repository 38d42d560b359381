package registry

// The commands about registries, as this stage's program and skiff have them.
// Who logs in does that with docker or podman, whose files we read.

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage05-images/image"
)

// Commands are pull, push, copy, tags, catalog and referrers. open opens the
// store; all of them have the flags more besides their own.
func Commands(open func(*cli.Context) (*image.Store, error), more ...cli.Flag) []*cli.Command {
	with := func(own ...cli.Flag) []cli.Flag { return append(own, more...) }
	c := commands{open}
	return []*cli.Command{
		command.New("pull", "REF", "fetch an image and unpack it", 1, c.pull, with(transfer(platform, mirror)...)...),
		command.New("push", "REF [TO]", "send an image to its registry, or to another", 1, c.push, with(transfer()...)...),
		command.New("copy", "FROM TO", "copy an image from registry to registry, for all its platforms", 2, c.copy, with(transfer(platform, mirror)...)...),
		command.New("tags", "REPOSITORY", "list the tags of a repository", 1, c.tags, with(reach...)...),
		command.New("catalog", "HOST[:PORT]", "list the repositories of a registry", 1, c.catalog, with(reach...)...),
		command.New("referrers", "REF", "list what refers to an image: signatures, bills of materials", 1, c.referrers, with(reach...)...),
	}
}

// The flags of these commands.
var (
	platform = &cli.StringFlag{Name: "platform", Usage: "which of an image's platforms, `OS/ARCH[/VARIANT]`"}
	mirror   = &cli.StringSliceFlag{Name: "mirror", Usage: "ask there first: `[REGISTRY=]HOST[:PORT][/PATH]`, for docker.io if no registry is said"}
	reach    = []cli.Flag{
		&cli.BoolFlag{Name: "plain-http", Usage: "speak to the registry without TLS, wherever it is"},
		&cli.StringFlag{Name: "ca", Usage: "believe the authorities in `FILE`, too, that a registry is the one it says"},
	}
)

// transfer are the flags of commands that move layers.
func transfer(own ...cli.Flag) []cli.Flag {
	return append(append(own, reach...),
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "do not show progress"},
		&cli.BoolFlag{Name: "json", Usage: "show progress, and the result, as JSON: an object a line"},
		&cli.IntFlag{Name: "parallel", Usage: "move `N` layers at once", Value: defaultParallel},
	)
}

// options are what the flags say.
func options(c *cli.Context) (o Options, err error) {
	o = Options{
		Progress: c.App.ErrWriter, JSON: c.Bool("json"), Parallel: c.Int("parallel"),
		PlainHTTP: c.Bool("plain-http"), CA: c.String("ca"), Mirrors: c.StringSlice("mirror"),
	}
	if o.JSON {
		o.Progress = c.App.Writer
	}
	if c.Bool("quiet") {
		o.Progress = nil
	}
	o.Platform, err = image.ParsePlatform(c.String("platform"))
	return o, err
}

// commands are the commands of a program whose store open opens.
type commands struct {
	open func(*cli.Context) (*image.Store, error)
}

// pull fetches what the store lacks. Nothing is believed that does not hash to
// its name.
func (p commands) pull(c *cli.Context, words []string) error {
	o, err := options(c)
	if err != nil {
		return err
	}
	s, err := p.open(c)
	if err != nil {
		return err
	}
	img, err := Pull(c.Context, s, words[0], o)
	if err != nil {
		return err
	}
	return result(c, img.Reference, img.Digest.String())
}

// push sends what the registry lacks.
func (p commands) push(c *cli.Context, words []string) error {
	o, err := options(c)
	if err != nil {
		return err
	}
	s, err := p.open(c)
	if err != nil {
		return err
	}
	words = append(words, words[0])
	d, err := PushFrom(c.Context, s, words[0], words[1], o)
	if err != nil {
		return err
	}
	return result(c, words[1], d.String())
}

// copy needs no store.
func (commands) copy(c *cli.Context, words []string) error {
	o, err := options(c)
	if err != nil {
		return err
	}
	d, err := Copy(c.Context, words[0], words[1], o)
	if err != nil {
		return err
	}
	return result(c, words[1], d.String())
}

// result says which image it was.
func result(c *cli.Context, ref, digest string) error {
	if c.Bool("json") {
		return json.NewEncoder(c.App.Writer).Encode(map[string]string{"reference": ref, "digest": digest})
	}
	_, err := fmt.Fprintln(c.App.Writer, digest)
	return err
}

func (commands) tags(c *cli.Context, words []string) error {
	o, err := options(c)
	if err != nil {
		return err
	}
	return list(c, func() ([]string, error) { return Tags(c.Context, words[0], o) })
}

func (commands) catalog(c *cli.Context, words []string) error {
	o, err := options(c)
	if err != nil {
		return err
	}
	return list(c, func() ([]string, error) { return Catalog(c.Context, words[0], o) })
}

func (commands) referrers(c *cli.Context, words []string) error {
	o, err := options(c)
	if err != nil {
		return err
	}
	return list(c, func() (all []string, err error) {
		found, err := Referrers(c.Context, words[0], o)
		for _, d := range found {
			all = append(all, d.Digest.String()+" "+oneLine(d.ArtifactType))
		}
		return all, err
	})
}

// list prints a line for each thing that a registry has. A registry may send
// anything, and a terminal obeys.
func list(c *cli.Context, ask func() ([]string, error)) error {
	all, err := ask()
	for _, line := range all {
		fmt.Fprintln(c.App.Writer, oneLine(line))
	}
	return err
}
