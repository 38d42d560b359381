package imagecmd

// Looking at images: images, inspect, history.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage05-images/image"
)

// listed is a line of images.
type listed struct {
	Reference string // for people; of an image without a name ""
	ID        digest.Digest
	Digest    digest.Digest
	Created   *time.Time `json:",omitempty"`
	Platform  string
	Size      int64 // bytes, compressed
	Shared    int64 // of these, in other images as well
}

// images lists the images, one line for each name.
func images(c call) error {
	all, damaged := c.store.Images()
	lines := []listed{}
	for _, d := range all {
		for _, name := range namesOf(d) {
			if c.leftOut(name) && !c.Bool("all") {
				continue
			}
			lines = append(lines, listed{
				Reference: name, ID: d.ID, Digest: d.Digest, Created: d.Config.Created,
				Platform: image.PlatformString(d.Config.Platform), Size: d.Size, Shared: d.Shared,
			})
		}
	}
	if err := c.writeImages(lines); err != nil {
		return err
	}
	return damaged
}

// leftOut tells whether a name is one that only some want to see.
func (c call) leftOut(name string) bool { return c.hidden != nil && c.hidden(name) }

// namesOf are the names of an image for people, or one that is empty.
func namesOf(d *image.Details) (names []string) {
	for _, full := range d.References {
		names = append(names, image.Familiar(full))
	}
	if len(names) == 0 {
		return []string{""}
	}
	return names
}

// writeImages writes the lines as the flags say.
func (c call) writeImages(lines []listed) error {
	whole := c.Bool("no-trunc")
	switch {
	case c.Bool("json"):
		return writeJSON(c.out, lines)
	case c.String("format") != "":
		return writeEach(c.out, c.String("format"), lines)
	case c.Bool("quiet"):
		for _, l := range lines {
			fmt.Fprintln(c.out, shortID(l.ID, whole))
		}
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)
	digests := func(text string) string {
		if c.Bool("digests") {
			return "\t" + text
		}
		return ""
	}
	fmt.Fprintf(w, "IMAGE\tID%s\tCREATED\tSIZE\tSHARED\n", digests("DIGEST"))
	for _, l := range lines {
		name := clean(l.Reference)
		if name == "" {
			name = "<none>"
		}
		fmt.Fprintf(w, "%s\t%s%s\t%s\t%s\t%s\n", name, shortID(l.ID, whole), digests(l.Digest.String()), ago(l.Created),
			units.HumanSize(float64(l.Size)), units.HumanSize(float64(l.Shared)))
	}
	return w.Flush()
}

// ago tells how long ago something was.
func ago(t *time.Time) string {
	if t == nil {
		return "unknown"
	}
	return units.HumanDuration(time.Since(*t)) + " ago"
}

// inspected is what inspect tells, in the words of docker image inspect.
type inspected struct {
	Id           string // as docker writes it: templates name the fields
	RepoTags     []string
	RepoDigests  []string
	Created      *time.Time `json:",omitempty"`
	Author       string     `json:",omitempty"`
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size, Shared int64
	Config       inspectedConfig
	RootFS       inspectedLayers
}

// inspectedConfig is what the image says about its process.
type inspectedConfig struct {
	ocispec.ImageConfig
	Healthcheck *image.Healthcheck `json:",omitempty"`
}

// inspectedLayers are the layers: unpacked, and as they travel.
type inspectedLayers struct {
	Type   string
	Layers []digest.Digest
	Blobs  []ocispec.Descriptor
}

// inspect tells all about images.
func inspect(c call) error {
	all := []inspected{}
	for i, word := range c.words {
		d, err := c.store.Inspect(word)
		if err != nil {
			return err
		}
		if shown := slices.DeleteFunc(slices.Clone(d.References), c.leftOut); len(shown) > 0 {
			d.References = shown
		}
		if c.Bool("pretty") {
			if i > 0 {
				fmt.Fprintln(c.out)
			}
			if err := writePretty(c.out, d); err != nil {
				return err
			}
			continue
		}
		all = append(all, inspectedOf(d))
	}
	switch format := c.String("format"); {
	case c.Bool("pretty"):
		return nil
	case format != "":
		return writeEach(c.out, format, all)
	}
	return writeJSON(c.out, all)
}

// inspectedOf finds docker's words for the details.
func inspectedOf(d *image.Details) inspected {
	i := inspected{
		Id: d.ID.String(), RepoTags: []string{}, RepoDigests: []string{},
		Created: d.Config.Created, Author: d.Config.Author,
		Architecture: d.Config.Architecture, Variant: d.Config.Variant, Os: d.Config.OS, Size: d.Size, Shared: d.Shared,
		Config: inspectedConfig{d.Config.Config, d.Healthcheck},
		RootFS: inspectedLayers{d.Config.RootFS.Type, d.Config.RootFS.DiffIDs, d.Manifest.Layers},
	}
	for _, full := range d.References {
		if strings.Contains(full, "@") {
			i.RepoDigests = append(i.RepoDigests, image.Familiar(full))
		} else {
			i.RepoTags = append(i.RepoTags, image.FamiliarTagged(full))
		}
	}
	return i
}

// writePretty writes the details for people.
func writePretty(out io.Writer, d *image.Details) error {
	var failed error
	line := func(what, text string) {
		if text != "" && failed == nil {
			_, failed = fmt.Fprintf(out, "%-12s  %s\n", what, text)
		}
	}
	config := d.Config.Config
	line("image", clean(strings.Join(namesOf(d), ", ")))
	line("id", d.ID.String())
	line("digest", d.Digest.String())
	line("platform", clean(image.PlatformString(d.Config.Platform)))
	if d.Config.Created != nil {
		line("created", d.Config.Created.UTC().Format(time.RFC3339))
	}
	line("size", fmt.Sprintf("%s, of which other images share %s", units.HumanSize(float64(d.Size)), units.HumanSize(float64(d.Shared))))
	line("entrypoint", words(config.Entrypoint))
	line("command", words(config.Cmd))
	line("directory", clean(config.WorkingDir))
	line("user", clean(config.User))
	for _, e := range config.Env {
		line("environment", clean(e))
	}
	line("ports", words(slices.Sorted(maps.Keys(config.ExposedPorts))))
	line("volumes", words(slices.Sorted(maps.Keys(config.Volumes))))
	line("stop signal", clean(config.StopSignal))
	if d.Healthcheck != nil {
		line("health check", words(d.Healthcheck.Test))
	}
	for _, name := range slices.Sorted(maps.Keys(config.Labels)) {
		line("label", clean(name+"="+config.Labels[name]))
	}
	for i, chain := range image.ChainIDs(&d.Config) {
		l := d.Manifest.Layers[i]
		line(fmt.Sprintf("layer %d", i+1), fmt.Sprintf("%s, %s", l.Digest, units.HumanSize(float64(l.Size))))
		line("  unpacked", fmt.Sprintf("layers/%s/%s", chain.Algorithm(), chain.Encoded()))
	}
	return failed
}

// words writes a list so that it is clear where a word begins.
func words(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return clean(fmt.Sprintf("%q", list))
}

// history tells how an image was made.
func history(c call) error {
	d, err := c.store.Inspect(c.words[0])
	if err != nil {
		return err
	}
	slices.Reverse(d.History)
	whole := c.Bool("no-trunc")
	switch {
	case c.Bool("json"):
		return writeJSON(c.out, d.History)
	case c.Bool("quiet"):
		for _, step := range d.History {
			if step.Layer != "" {
				fmt.Fprintln(c.out, shortID(step.Layer, whole))
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "LAYER\tCREATED\tCREATED BY\tSIZE\tCOMMENT")
	for _, step := range d.History {
		layer, by := "", clean(step.CreatedBy)
		if step.Layer != "" {
			layer = shortID(step.Layer, whole)
		}
		if runes := []rune(by); !whole && len(runes) > 45 {
			by = string(runes[:44]) + "…"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", layer, ago(step.Created), by, units.HumanSize(float64(step.Size)), clean(step.Comment))
	}
	return w.Flush()
}
