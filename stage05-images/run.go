package main

// A container on the layers of an image: the steps of chapters 2 and 4, with
// what the image's configuration says about the program (image-spec config.md).
// What it leaves on the host, two folders, is in a journal (chapter 3).

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/execvp"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage04-overlay/overlay"
	"skiff.example/stage05-images/image"
)

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 5

// run runs an image of the store.
func run(c *cli.Context, words []string) (err error) {
	s, err := openStore(c)
	if err != nil {
		return err
	}
	release, err := s.Hold(c.Context) // while it runs nobody removes its layers
	if err != nil {
		return err
	}
	defer release()
	img, err := s.Ready(c.Context, words[0])
	if err != nil {
		return err
	}
	root, err := filepath.Abs(c.String("root"))
	if err != nil {
		return err
	}
	folder, err := containerFolder(filepath.Join(root, "containers"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }() // undoes the journal
	writable, target := filepath.Join(folder.Path, "writable"), filepath.Join(folder.Path, "rootfs")
	if err := folder.Journal.Record("remove-all", writable, target); err != nil {
		return err
	}
	stack, err := overlay.Prepare(writable, img.Layers)
	if err != nil {
		return err
	}
	if err := os.Mkdir(target, 0o700); err != nil {
		return err
	}
	box, err := box(stack, target, img.Config.Config, words[1:])
	if err != nil {
		return fmt.Errorf("image %q: %w", words[0], err)
	}
	defer func() { err = errors.Join(err, box.Namespaces.Close()) }()
	status, err := box.Run(c.Context)
	if err != nil {
		return err
	}
	return container.Failed(status)
}

// containerFolder removes what killed runs have left in dir, and makes a folder
// for this run, named by its pid.
func containerFolder(dir string) (*state.Folder, error) {
	undoers := journal.Files()
	if err := state.Collect(dir, undoers, func(string, []journal.Entry) {}); err != nil {
		return nil, err
	}
	return state.Open(dir, strconv.Itoa(os.Getpid()), undoers)
}

// box is the container of chapters 2 and 4, with what the image's configuration
// says about its process: image-spec config.md.
func box(layers overlay.Stack, target string, config ocispec.ImageConfig, args []string) (*container.Container, error) {
	argv, err := image.Command(config, nil, args)
	if err != nil {
		return nil, err
	}
	env, err := image.Environment(config.Env)
	if err != nil {
		return nil, err
	}
	if config.User != "" && config.User != "0" && config.User != "root" {
		return nil, fmt.Errorf("it wants to run as user %q: that takes chapter 7", config.User)
	}
	namespaces, err := container.Own()
	if err != nil {
		return nil, err
	}
	return &container.Container{
		Namespaces: namespaces, Root: target, Hostname: "stage05",
		Layers:  func(p *plan.Plan) error { return layers.Steps(p, target) },
		Process: process(config), Argv: argv, Env: env,
	}, nil
}

// process are the steps that do what the configuration says about the process,
// save its program.
func process(config ocispec.ImageConfig) func(p *plan.Plan) {
	return func(p *plan.Plan) {
		p.Section(chapter, "what the image's configuration says")
		// Not chdir(2): a WorkingDir of /proc/self/fd/7 must not lead out through
		// a descriptor that is still open (CVE-2024-21626).
		dir := cmp.Or(config.WorkingDir, "/")
		cwd := p.Register("cwd")
		p.Add(
			plan.Openat2(plan.CWD, dir, unix.OpenHow{
				Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
				Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
			}).Into(cwd).Doing("change directory to %q", dir),
			plan.Fchdir(cwd).Doing("change directory to %q", dir),
		)
	}
}

// printPlan prints the plan of a container; the layers are an example's.
func printPlan(c *cli.Context, words []string) error {
	const images, dir = "/var/lib/skiff-stage05/images/layers/sha256/", "/var/lib/skiff-stage05/containers/1234"
	layers := overlay.Stack{
		Lower: []string{images + "333", images + "222", images + "111"},
		Upper: dir + "/writable/upper", Work: dir + "/writable/work",
	}
	box, err := box(layers, dir+"/rootfs", ocispec.ImageConfig{
		Cmd: []string{"/bin/sh"}, Env: []string{"PATH=" + execvp.DefaultPath},
	}, words)
	if err != nil {
		return err
	}
	p, err := box.Plan()
	if err != nil {
		return errors.Join(err, box.Namespaces.Close())
	}
	return errors.Join(p.Print(c.App.Writer), box.Namespaces.Close())
}
