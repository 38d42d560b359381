package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage02-namespaces/namespace"
	"skiff.example/stage03-cgroups/journal"
)

// restore: what Create and Run do for a container, with criu(8) making its processes.

// Restore makes a container of a configuration and the images of a checkpoint. Detached,
// it returns when its processes run; otherwise it waits for the first one, as Run does.
func (r *Runtime) Restore(config Config, criu Criu, detach bool) (status int, err error) {
	if config.Spec.Process == nil {
		return 0, errors.New("process is missing: there is nothing to restore")
	}
	if err := refuseTerminal(config.Spec); err != nil {
		return 0, err
	}
	signals, err := CatchSignals()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, signals.Close()) }()
	dir, held, err := makeFolder(r.Root, config.ID)
	if err != nil {
		return 0, err
	}
	c := &Container{runtime: r, dir: dir, lock: held, config: config, attended: !detach, newcomer: newcomer{options: config.Options, planned: &oci.Container{}}}
	if err := c.restore(criu); err != nil {
		return 0, errors.Join(err, c.destroy())
	}
	if detach {
		return 0, c.release()
	}
	defer func() { err = errors.Join(err, c.destroy()) }()
	end, err := c.wait(signals, c.deliver)
	c.warnOfEnd(end)
	return exitStatus(end), err
}

// restore makes what is on the host, has criu make the processes, and writes the state
// down.
func (c *Container) restore(criu Criu) (err error) {
	if c.journal, err = journal.Open(filepath.Join(c.dir, journalFile)); err != nil {
		return err
	}
	if err := errors.Join(c.chooseCgroup(), c.makeResctrl()); err != nil {
		return err
	}
	born, err := c.makeCgroup()
	if err != nil {
		return err
	}
	if err := errors.Join(closeFile(&born), c.makePlaces()); err != nil {
		return err
	}
	root, err := c.mountRoot()
	if err != nil {
		return err
	}
	pid, err := c.callRestore(criu, root)
	if err := errors.Join(err, unix.Unmount(root, unix.MNT_DETACH)); err != nil {
		return err
	}
	if c.process, err = launch.Adopt(pid); err != nil {
		return err
	}
	if err := errors.Join(c.remember(), c.closeMounts()); err != nil {
		return err
	}
	return c.letGo()
}

// closeMounts gives the mounts of the host's files the attributes that they must have:
// of two that show the same file, criu 3.17 makes the second writable. It is done in
// the container's mount namespace, while its processes are stopped.
func (c *Container) closeMounts() (err error) {
	set, err := namespace.NewSet(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if err := set.JoinProcess(c.process.Pidfd(), unix.CLONE_NEWNS); err != nil {
		return err
	}
	p := &plan.Plan{}
	set.Steps(p)
	mounted := p.Register("mounted")
	for place, attributes := range c.restricted() {
		p.Add(
			plan.Openat2(plan.CWD, place, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}).Into(mounted).Accept(unix.ENOENT).Doing("open mount %q", place),
			plan.MountSetattr(mounted, 0, unix.MountAttr{Attr_set: attributes}).When(mounted).Doing("restrict mount %q", place),
			plan.Close(mounted).When(mounted),
		)
	}
	p.Add(plan.Exit(0))
	process, err := launch.Start(p, launch.Options{})
	if err != nil {
		return err
	}
	_, err = process.Wait()
	return errors.Join(err, process.Close())
}

// restricted are the places with what mount_setattr(2) is to set there.
func (c *Container) restricted() map[string]uint64 {
	const masked = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	s, all := c.config.Spec, map[string]uint64{}
	for _, m := range s.Mounts {
		if o, err := mount.ParseOptions(m.Options); err == nil && (o.Bind || m.Type == "bind") {
			all[path.Clean(m.Destination)] = o.Attributes.Set
		}
	}
	for _, p := range s.Linux.MaskedPaths {
		all[path.Clean(p)] = masked
	}
	if s.Root.Readonly {
		all["/"] = unix.MOUNT_ATTR_RDONLY
	}
	return all
}

// letGo runs the hooks that come before the processes while these are stopped, and
// those that come after when they run.
func (c *Container) letGo() error {
	c.state.Started = true
	if err := c.state.write(c.dir); err != nil {
		return err
	}
	if c.config.Spec.Hooks != nil {
		if err := c.runHostHooks(); err != nil {
			return err
		}
	}
	pids, err := c.cgroup.Processes()
	for _, pid := range pids {
		err = errors.Join(err, unix.Kill(pid, unix.SIGCONT))
	}
	if err != nil {
		return fmt.Errorf("let the processes go on: %w", err)
	}
	return errors.Join(c.announce("standard"), c.state.poststart())
}

// callRestore has criu make the processes, as children of this one, and returns the id
// of the first.
func (c *Container) callRestore(criu Criu, root string) (pid int, err error) {
	pidFile, err := filepath.Abs(filepath.Join(c.dir, "criu.pid"))
	if err != nil {
		return 0, err
	}
	args := []string{
		"restore", "--restore-detached", "--restore-sibling", "--root", root, "--pidfile", pidFile,
		"--evasive-devices", "--leave-stopped", "--cgroup-root", cgroupPath(c.config.Spec, c.config.ID),
	}
	for dest, source := range externalMounts(c.config.Spec, c.cgroup.Paths()) {
		args = append(args, "--external", fmt.Sprintf("mnt[%s]:%s", dest, source))
	}
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr} // as descriptors 3 to 5
	inherited, err := inheritedDescriptors(criu.Images)
	if err != nil {
		return 0, err
	}
	for key, fd := range inherited {
		args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", 3+fd, key))
	}
	for _, n := range joined(c.config.Spec) {
		f, err := os.Open(n.Path)
		if err != nil {
			return 0, fmt.Errorf("namespace %q: %w", n.Path, err)
		}
		defer f.Close()
		_, inImages := criuNames(n.Type)
		args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", 3+len(files), inImages))
		files = append(files, f)
	}
	if err := criu.run(args, files...); err != nil {
		if strings.Contains(err.Error(), ": File fd/") {
			err = fmt.Errorf("%w: standard input, output and error must be of the kind and mode that they had at the checkpoint", err)
		}
		return 0, err
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// inheritedDescriptors are the files of descriptorsFile that come from outside, and the
// descriptors, 0 to 2, that take their place.
func inheritedDescriptors(images string) (map[string]int, error) {
	text, err := os.ReadFile(filepath.Join(images, descriptorsFile))
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint: %w", err)
	}
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return nil, fmt.Errorf("read the checkpoint: %s: %w", descriptorsFile, err)
	}
	fds := map[string]int{}
	for fd, name := range slices.Backward(names) {
		if fd < 3 && name != "" && !strings.HasPrefix(name, "/") {
			fds[name] = fd
		}
	}
	return fds, nil
}

// mountRoot mounts the root file system below the state folder, where nothing is mounted
// over it: criu wants a mount point.
func (c *Container) mountRoot() (string, error) {
	root, err := filepath.Abs(filepath.Join(c.dir, "criu-root"))
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(root, 0o700); err != nil {
		return "", err
	}
	if err := c.journal.Record("umount", root); err != nil {
		return "", err
	}
	if err := unix.Mount(c.config.Spec.Root.Path, root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("mount root file system %q: %w", c.config.Spec.Root.Path, err)
	}
	return root, nil
}

// makePlaces makes the mount points that the root lacks: it may be another copy of the
// image. What is in the file systems that criu fills is there already.
func (c *Container) makePlaces() error {
	root, err := os.OpenRoot(c.config.Spec.Root.Path)
	if err != nil {
		return fmt.Errorf("root file system %q: %w", c.config.Spec.Root.Path, err)
	}
	defer root.Close()
	external := externalMounts(c.config.Spec, c.cgroup.Paths())
	for _, m := range c.config.Spec.Mounts {
		name := strings.TrimPrefix(path.Clean("/"+m.Destination), "/")
		if _, err := root.Stat(name); !errors.Is(err, fs.ErrNotExist) || c.isMounted(path.Dir("/"+name)) {
			continue
		}
		source, bind := external["/"+name]
		info, err := os.Stat(source)
		if bind && err == nil && !info.IsDir() {
			err = errors.Join(root.MkdirAll(path.Dir(name), 0o755), root.WriteFile(name, nil, 0o644))
		} else {
			err = root.MkdirAll(name, 0o755)
		}
		if err != nil {
			return fmt.Errorf("make mount point %q: %w", m.Destination, err)
		}
	}
	return nil
}

// isMounted tells whether a folder is in a mount of the configuration.
func (c *Container) isMounted(dir string) bool {
	return slices.ContainsFunc(c.config.Spec.Mounts, func(m specs.Mount) bool {
		return strings.HasPrefix(dir+"/", path.Clean("/"+m.Destination)+"/")
	})
}
