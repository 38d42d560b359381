package main

// A container on the layers of an image: the steps of chapters 2 and 4, with
// what the image's configuration says about the program (image-spec config.md).
// What it leaves on the host, two folders, is in a journal (chapter 3).

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/execvp"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage04-overlay/overlay"
)

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 5

// namespaces are those that the container is born with: namespaces(7).
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET

// exitStatus is the error of a program that ended with another status than 0.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// run runs an image of the store.
func run(c *cli.Context) (err error) {
	if c.NArg() < 1 {
		return errors.New("run: want an image reference")
	}
	s, err := openStore(c)
	if err != nil {
		return err
	}
	img, err := s.Find(c.Args().First())
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
	p, err := containerPlan(stack, target, img.Config.Config, c.Args().Tail())
	if err != nil {
		return err
	}
	return wait(c.Context, p)
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

// containerPlan is what the container's first process does to itself: stack the
// layers on target, make that its root, and become the image's program.
func containerPlan(layers overlay.Stack, target string, config ocispec.ImageConfig, args []string) (*plan.Plan, error) {
	p := &plan.Plan{}
	p.Section(2, "end with the parent")
	p.Add(plan.ParentDeathSignal(unix.SIGKILL))
	mount.Detach(p, unix.MS_PRIVATE)

	p.Section(4, "stack the layers of the image")
	stack, err := layers.Steps(target)
	if err != nil {
		return nil, err
	}
	p.Add(stack...)

	root := mount.NewRoot(p, target)
	p.Add(plan.Umask(0)) // so that devices get the mode that they ask for
	for _, m := range mounts {
		if err := root.Mount(m); err != nil {
			return nil, err
		}
	}
	if err := root.Devices(mount.DefaultDevices()); err != nil {
		return nil, err
	}
	root.ReadOnlyPath("/proc/sys")
	root.ReadOnlyPath("/proc/sysrq-trigger")
	root.Pivot()
	return p, program(p, config, args)
}

// mounts are what programs expect beside the files of the image: runtime-spec
// config-linux.md, "Default Filesystems".
var mounts = []specs.Mount{
	{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
	{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
}

// program adds the steps that do what the image's configuration asks for.
// The command line is its Entrypoint, then args or, without any, its Cmd.
func program(p *plan.Plan, config ocispec.ImageConfig, args []string) error {
	if len(args) == 0 {
		args = config.Cmd
	}
	args = append(append([]string{}, config.Entrypoint...), args...)
	switch {
	case len(args) == 0:
		return hint.Add(errors.New("the image has no command"), "give one: stage05 run REF CMD…")
	case config.User != "" && config.User != "0" && config.User != "root":
		return fmt.Errorf("the image wants to run as user %q: that takes chapter 7", config.User)
	}
	p.Section(chapter, "what the image's configuration says")
	p.Add(
		plan.Sethostname("stage05"),
		plan.Setgroups(), // none of the caller's: CVE-2022-2989
		plan.Umask(0o022),
	)
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
		plan.CloseOnExec(3), plan.SetSignalMask(0),
	)
	steps := execvp.Steps(args, config.Env)
	if len(steps) == 0 {
		return fmt.Errorf("find %q: the image's PATH has no absolute directory", args[0])
	}
	p.Add(steps...)
	return nil
}

// wait starts the container and waits for its end, which the end of ctx
// brings about.
func wait(ctx context.Context, p *plan.Plan) (err error) {
	runtime.LockOSThread() // ParentDeathSignal tells the death of a thread: prctl(2)
	defer runtime.UnlockOSThread()
	process, err := launch.Start(p, launch.Options{Namespaces: namespaces})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.Close()) }()
	killed := make(chan error, 1)
	release := context.AfterFunc(ctx, func() { killed <- process.Kill() })
	status, err := process.Wait()
	if !release() { // it has been killed, or is about to be
		return errors.Join(context.Cause(ctx), <-killed)
	}
	if err == nil && status != 0 {
		err = exitStatus(shellStatus(status))
	}
	return err
}

// shellStatus is a status as a shell has it: that of exit(3), or 128 and the
// number of the signal.
func shellStatus(s unix.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// printPlan prints the plan of a container; the layers are an example's.
func printPlan(c *cli.Context) error {
	const images, dir = "/var/lib/skiff-stage05/images/layers/sha256/", "/var/lib/skiff-stage05/containers/1234"
	layers := overlay.Stack{
		Lower: []string{images + "333", images + "222", images + "111"},
		Upper: dir + "/writable/upper", Work: dir + "/writable/work",
	}
	p, err := containerPlan(layers, dir+"/rootfs", ocispec.ImageConfig{
		Cmd: []string{"/bin/sh"}, Env: []string{"PATH=" + execvp.DefaultPath},
	}, c.Args().Slice())
	if err != nil {
		return err
	}
	return p.Print(c.App.Writer)
}
