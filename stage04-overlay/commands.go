package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage04-overlay/overlay"
)

// The command line: which words there are, and what each of them is given.

func app() *cli.App {
	lower := &cli.StringFlag{Name: "lower", Usage: "the layers below, topmost first: `DIR[:DIR…]`"}
	return &cli.App{
		Name:  "stage04",
		Usage: "run a program in a container whose files are stacked layers",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Value: defaultState(), Usage: "keep the containers' journals in `DIR`"},
		},
		Commands: []*cli.Command{
			command.New("run", "--lower DIR[:DIR…] COMMAND [ARGUMENT…]", "run a command in a container on layers", 1, runCommand, lower,
				&cli.StringFlag{Name: "writable", Usage: "put what the container writes into `DIR`, and keep it"},
				&cli.StringFlag{Name: "name", Value: "box", Usage: "call the container `NAME`"},
				&cli.Uint64Flag{Name: "ids", Usage: "the container's users 0 to 65535 are those from `FIRST` on of the host; the layers need not know"},
				&cli.BoolFlag{Name: "copy", Usage: "copy the layers, as is done where overlayfs is refused"},
				&cli.BoolFlag{Name: "explain", Usage: "in the end, print how long each system call took"}),
			command.New("plan", "COMMAND [ARGUMENT…]", "print the system calls of run, on three layers", 1, planCommand,
				&cli.BoolFlag{Name: "one-page", Usage: "as on kernels before 6.8"}),
			command.New("unpack", "TAR DIR", "make a directory from a layer", 2, unpackCommand, lower),
			command.New("layers", "WRITABLE", "list what a container sees, and the disk that it takes", 1,
				func(c *cli.Context, words []string) error { return list(c.App.Writer, words[0]) }),
			command.New("diff", "WRITABLE", "list what the container has changed, as a layer says it", 1, onPacked(diff)),
			command.New("pack", "WRITABLE", "write that as a layer to standard output", 1, onPacked(copyTo)),
			command.New("commit", "WRITABLE DIR", "make a layer's directory of it", 2, commitCommand),
			command.New("gc", "", "undo what killed runs have left on the host", 0, gcCommand),
			command.New("demo", "", "show all of this", 0,
				func(c *cli.Context, _ []string) error { return demo(c.Context, c.App.Writer, c.App.ErrWriter) }),
		},
	}
}

// options are what the flags of run ask for.
type options struct {
	stateDir, name string
	lower          []string
	writable       string // "" is one that is removed in the end
	ids            uint32 // the host's id for the container's root; 0: the container has no ids of its own
	copy           bool
	explain, aside io.Writer
}

// hasIDs tells whether the container's users are others than the host's.
func (o options) hasIDs() bool { return o.ids != 0 }

// manyIDs is how many ids a container gets: all that 16 bits have, as distributions
// number their users.
const manyIDs = 1 << 16

// defaultState is where containers are kept if --state does not say otherwise.
func defaultState() string {
	if overlay.WithoutRoot() {
		return fmt.Sprintf("/tmp/skiff-stage04.%d", os.Geteuid())
	}
	return "/run/skiff-stage04"
}

// stateDir is the folder that --state names.
func stateDir(c *cli.Context) (string, error) {
	dir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return "", err
	}
	return state.Resolve(dir)
}

// lowers are the directories of --lower.
func lowers(c *cli.Context) (dirs []string, err error) {
	if c.String("lower") == "" {
		return nil, nil
	}
	for dir := range strings.SplitSeq(c.String("lower"), ":") {
		path, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%q: %w", path, unix.ENOTDIR)
		}
		if err != nil {
			return nil, fmt.Errorf("--lower: %w", err)
		}
		dirs = append(dirs, path)
	}
	return dirs, nil
}

// readOptions reads the flags of run.
func readOptions(c *cli.Context) (o options, err error) {
	o = options{name: c.String("name"), writable: c.String("writable"), copy: c.Bool("copy"), aside: c.App.ErrWriter}
	if o.lower, err = lowers(c); err != nil {
		return o, err
	}
	if len(o.lower) == 0 {
		return o, hint.Add(errors.New("run: no layers"), "name them, topmost first: stage04 run --lower DIR:DIR COMMAND")
	}
	if first := c.Uint64("ids"); first > 1<<32-1-manyIDs || first > 0 && first < manyIDs {
		return o, fmt.Errorf("--ids %d: want %d to %d, so that no user of the host is among them", first, manyIDs, uint64(1<<32-1-manyIDs))
	} else if o.ids = uint32(first); o.hasIDs() {
		if err := command.NeedRoot("--ids", "a user namespace with ids that are not its user's"); err != nil {
			return o, err
		}
	}
	if c.Bool("explain") {
		o.explain = c.App.ErrWriter
	}
	if o.writable != "" {
		if o.writable, err = filepath.Abs(o.writable); err != nil {
			return o, err
		}
	}
	o.stateDir, err = stateDir(c)
	return o, err
}

func runCommand(c *cli.Context, argv []string) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	return run(c.Context, o, argv)
}

func planCommand(c *cli.Context, argv []string) error {
	const dir = "/run/skiff-stage04/box"
	layers := overlay.Stack{
		Lower: []string{"/layers/3", "/layers/2", "/layers/1"},
		Upper: dir + "/writable/upper", Work: dir + "/writable/work", Volatile: true,
		OnePage: c.Bool("one-page"),
	}
	box, err := newBox(options{}, dir+"/root", argv)
	if err != nil {
		return err
	}
	box.Layers = func(p *plan.Plan) error { return layers.Steps(p, box.Root) }
	p, err := box.Plan()
	if err == nil {
		err = p.Print(c.App.Writer)
	}
	return errors.Join(err, box.Namespaces.Close())
}

func unpackCommand(c *cli.Context, words []string) error {
	lower, err := lowers(c)
	if err != nil {
		return err
	}
	archive, err := os.Open(words[0])
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer archive.Close()
	dir, err := filepath.Abs(words[1])
	if err != nil {
		return err
	}
	_, err = unpack(archive, dir, lower)
	return err
}

// onPacked is a command that writes something about a packed layer.
func onPacked(do func(io.Writer, io.Reader) error) func(*cli.Context, []string) error {
	return func(c *cli.Context, words []string) error {
		packed, err := pack(words[0])
		if err != nil {
			return err
		}
		return errors.Join(do(c.App.Writer, packed), packed.Close())
	}
}

// copyTo writes the layer itself.
func copyTo(w io.Writer, packed io.Reader) error {
	_, err := io.Copy(w, packed)
	return err
}

func commitCommand(c *cli.Context, words []string) error {
	dir, err := filepath.Abs(words[1])
	if err != nil {
		return err
	}
	digest, sum, err := commit(words[0], dir)
	if err == nil {
		_, err = fmt.Fprintf(c.App.Writer, "%d files, %d bytes, %s\n", sum.Inodes, sum.Bytes, digest)
	}
	return err
}

func gcCommand(c *cli.Context, _ []string) error {
	dir, err := stateDir(c)
	if err != nil {
		return err
	}
	return state.Collect(dir, journal.Files(), func(name string, _ []journal.Entry) {
		fmt.Fprintf(c.App.Writer, "container %q: removed its files\n", name)
	})
}
