// Package imagecmd is the command line about images that are there: images, inspect,
// history, tag, rmi, save, load, gc and fsck. The program of chapter 5 and skiff
// both have these commands. Words and flags are those of docker(1), where it has
// such a command; what the flags mean is decided here, and all else in package image.
package imagecmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"unicode"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// A Door is what differs between the programs that have these commands.
type Door struct {
	// Store opens the store.
	Store func(*cli.Context) (*image.Store, error)
	// Users tells which containers run on which image: the digest of its manifest →
	// their names. nil: whoever runs an image holds a lease, see image.Store.Hold.
	Users func(*cli.Context) (map[digest.Digest][]string, error)
	// Hidden tells whether a reference is one that images leaves out unless it is
	// asked for all. nil: none is.
	Hidden func(reference string) bool
	// Flags are those that each command of the program has.
	Flags []cli.Flag
}

// Commands returns the commands.
func (d Door) Commands() []*cli.Command {
	platform := &cli.StringFlag{Name: "platform", Usage: "which of an image's platforms, `OS/ARCH[/VARIANT]`"}
	asJSON := &cli.BoolFlag{Name: "json", Usage: "write JSON"}
	format := &cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "write each by a `TEMPLATE` of Go's text/template"}
	quiet := &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "write IDs only"}
	whole := &cli.BoolFlag{Name: "no-trunc", Usage: "write digests and texts in full"}
	return []*cli.Command{
		d.command("images", "", "list the images: their names, IDs, and how large they are", 0, images, quiet, whole, asJSON, format,
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "list the steps of builds, too"},
			&cli.BoolFlag{Name: "digests", Usage: "write the digests of the manifests, too"}),
		d.command("inspect", "IMAGE…", "tell all about images, as JSON", 1, inspect, format,
			&cli.BoolFlag{Name: "pretty", Usage: "write for people"}),
		d.command("history", "IMAGE", "tell how an image was made, the last step first", 1, history, quiet, whole, asJSON),
		d.command("tag", "IMAGE NAME", "give an image another name", 2, tag),
		d.command("rmi", "IMAGE…", "remove images: by name that name, by ID all names; and what no other image needs", 1, remove,
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "remove the names even if a container runs on the image"}),
		d.command("save", "IMAGE…", "write images into an archive, which is docker's and OCI's at once", 1, save,
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` instead of standard output"},
			&cli.StringFlag{Name: "format", Usage: "accepted for podman's users: `docker-archive` and oci-archive are the same file"}),
		d.command("load", "", "read the images of an archive of docker, podman, skopeo or skiff", 0, load, platform,
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read `FILE` instead of standard input"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "do not say what was loaded"}),
		d.command("gc", "", "remove blobs and layers that no image needs, and what killed commands have left", 0, collect),
		d.command("fsck", "", "check every file of the store", 0, check,
			&cli.BoolFlag{Name: "repair", Usage: "unpack damaged layers again, remove what else is wrong"}),
	}
}

// call is one call of a command.
type call struct {
	*cli.Context
	store *image.Store
	users map[digest.Digest][]string
	words []string
	out   io.Writer

	hidden func(reference string) bool
}

// command is a command with the store open.
func (d Door) command(name, words, usage string, least int, do func(call) error, flags ...cli.Flag) *cli.Command {
	return command.New(name, words, usage, least, func(c *cli.Context, given []string) error {
		for _, word := range given {
			if strings.HasPrefix(word, "-") {
				return hint.Add(fmt.Errorf("%s: %q is no image", name, word), "flags come before the first image")
			}
		}
		store, err := d.Store(c)
		if err != nil {
			return err
		}
		k := call{Context: c, store: store, words: given, out: c.App.Writer, hidden: d.Hidden}
		if d.Users != nil {
			if k.users, err = d.Users(c); err != nil {
				return err
			}
		}
		err = do(k)
		if errors.Is(err, image.ErrNotFound) {
			err = hint.Add(err, "those that are there are listed by: "+c.App.Name+" images")
		}
		return err
	}, append(flags, d.Flags...)...)
}

// used are the manifests of images that containers run on.
func (c call) used() (all []digest.Digest) {
	for d := range c.users {
		all = append(all, d)
	}
	return all
}

// writeJSON writes JSON for people and programs.
func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// writeEach writes each value by a template.
func writeEach[T any](w io.Writer, format string, values []T) error {
	t, err := template.New("format").Funcs(template.FuncMap{
		"json": func(v any) (string, error) { raw, err := json.Marshal(v); return string(raw), err },
	}).Parse(format)
	var text bytes.Buffer
	for i := 0; err == nil && i < len(values); i++ {
		err = t.Execute(&text, values[i])
		text.WriteByte('\n')
	}
	if err != nil {
		return hint.Add(err, "the fields are those of the JSON: {{.Size}}; {{json .}} writes all")
	}
	_, err = w.Write(text.Bytes())
	return err
}

// clean makes a stranger's text one that a terminal shows and does not obey.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// shortID is a digest as docker shortens it.
func shortID(d digest.Digest, whole bool) string {
	if whole || len(d.Encoded()) < 12 {
		return d.String()
	}
	return d.Encoded()[:12]
}
