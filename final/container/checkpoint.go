package container

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan/machine"
	"skiff.example/stage02-namespaces/mount"
)

// checkpoint and restore: the processes of a container as files, and back. criu(8) does
// it; here it is told what of the container it does not find in the container: bind
// mounts, namespaces and open files that are the host's.

// Criu is how criu(8) is to be called.
type Criu struct {
	Program string
	Images  string   // folder for the images
	Work    string   // folder for its log; "" is that of the images
	Options []string // that are passed on as they are
	Cgroups string   // what is done about cgroups: soft, full, strict, ignore
}

// descriptorsFile, among the images, is what descriptors 0 to 2 of the first process
// were, as --inherit-fd of criu(8) calls it: they are the caller's at restore.
const descriptorsFile = "descriptors.json"

// run runs criu to its end, with descriptors from 3 on. What it has to say is in its log.
func (c Criu) run(args []string, files ...*os.File) error {
	work := c.Work
	if work == "" {
		work = c.Images
	}
	log := filepath.Join(work, args[0]+".log")
	cmd := exec.Command(c.Program, slices.Concat(args, []string{
		"--images-dir", c.Images, "--work-dir", work, "--log-file", filepath.Base(log), "-v4", "--manage-cgroups=" + c.Cgroups,
	}, c.Options)...)
	cmd.ExtraFiles = files
	runtime.LockOSThread() // its slack is criu's, and that of the processes which criu restores
	defer runtime.UnlockOSThread()
	machine.SetTimerSlack()
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return hint.Add(err, "checkpoint and restore are the work of criu(8): install it, in Debian the package criu")
	}
	if err != nil {
		return hint.Add(fmt.Errorf("criu %s: %w%s", args[0], err, errorsIn(log)), "all that criu has to say is in "+log)
	}
	return nil
}

// errorsIn are the first words of criu's log that tell of an error, the cause of the
// others, without time and place in its source.
func errorsIn(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if _, said, ok := strings.Cut(line, "Error ("); ok {
			if _, what, ok := strings.Cut(said, "): "); ok && !strings.HasPrefix(what, "exited") && !strings.HasPrefix(what, "tun:") {
				return ": " + strings.TrimSpace(what)
			}
		}
	}
	return ""
}

// Checkpoint writes the processes of a container into files. Unless they are to go on,
// the container is deleted then.
func (r *Runtime) Checkpoint(id string, criu Criu, preDump, leaveRunning bool) error {
	dir, state, err := r.find(id)
	if err != nil {
		return err
	}
	if state.Status != specs.StateRunning && state.Status != StatePaused {
		return fmt.Errorf("checkpoint container %q: it is %s", id, state.Status)
	}
	spec, err := state.loadConfig(dir)
	if err != nil {
		return err
	}
	if err := refuseTerminal(spec); err != nil {
		return fmt.Errorf("checkpoint container %q: %w", id, err)
	}
	args := []string{"--tree", fmt.Sprint(state.Pid), "--root", state.Rootfs, "--freeze-cgroup", state.freezer()}
	if preDump {
		return criu.run(append([]string{"pre-dump", "--track-mem"}, args...))
	}
	if leaveRunning {
		args = append(args, "--leave-running")
	}
	outside, err := dumpExternals(state, spec)
	if err != nil {
		return fmt.Errorf("checkpoint container %q: %w", id, err)
	}
	files, err := rememberDescriptors(state.Pid, criu.Images)
	if err != nil {
		return fmt.Errorf("checkpoint container %q: %w", id, err)
	}
	for _, f := range files {
		if strings.HasPrefix(f, "file[") {
			outside = append(outside, "--external", f)
		}
	}
	if err := criu.run(slices.Concat([]string{"dump"}, args, outside)); err != nil || leaveRunning {
		return err
	}
	return r.Delete(id, true)
}

// freezer is the group through which criu stops the container.
func (s *State) freezer() string {
	if dir, ok := s.CgroupPaths["freezer"]; ok {
		return dir
	}
	return s.CgroupPaths[""]
}

// dumpExternals are the arguments that name what is not the container's own.
func dumpExternals(state *State, spec *specs.Spec) (args []string, err error) {
	for dest, source := range externalMounts(spec, state.CgroupPaths) {
		if info, err := os.Lstat(oci.RootOf(state.Pid) + dest); err != nil || info.IsDir() && source == os.DevNull {
			continue // not there to be masked, or masked by an empty file system
		}
		args = append(args, "--external", fmt.Sprintf("mnt[%s]:%s", dest, dest))
	}
	for _, n := range joined(spec) {
		var st unix.Stat_t
		if err := unix.Stat(n.Path, &st); err != nil {
			return nil, fmt.Errorf("namespace %q: %w", n.Path, err)
		}
		name, inImages := criuNames(n.Type)
		args = append(args, "--external", fmt.Sprintf("%s[%d]:%s", name, st.Ino, inImages))
	}
	return args, nil
}

// refuseTerminal is an error for a container with a terminal: criu hands its other end
// to those alone who speak its protocol.
func refuseTerminal(spec *specs.Spec) error {
	if spec.Process != nil && spec.Process.Terminal {
		return hint.Add(errors.New("it has a terminal, and criu would not know whom to give it to"), "run it without: process.terminal false")
	}
	return nil
}

// criuNames are the names of the kinds of namespaces that criu takes from outside, and
// those under which runc's images have them.
func criuNames(t specs.LinuxNamespaceType) (name, inImages string) {
	switch t {
	case specs.NetworkNamespace:
		return "net", "extRootNetNS"
	case specs.PIDNamespace:
		return "pid", "extRootPidNS"
	}
	return "", ""
}

// joined are the namespaces of these kinds that the container has not made.
func joined(spec *specs.Spec) []specs.LinuxNamespace {
	return slices.DeleteFunc(slices.Clone(spec.Linux.Namespaces), func(n specs.LinuxNamespace) bool {
		name, _ := criuNames(n.Type)
		return n.Path == "" || name == ""
	})
}

// externalMounts are the places in the container where something of the host's is
// mounted, and what: also its groups, which are bind-mounted (package cgroupmount).
func externalMounts(spec *specs.Spec, groups map[string]string) map[string]string {
	mounts := map[string]string{}
	for _, m := range spec.Mounts {
		for hierarchy, dir := range groups {
			place := path.Clean(m.Destination)
			if len(groups) > 1 {
				place = path.Join(place, cmp.Or(strings.TrimPrefix(hierarchy, "name="), "unified"))
			}
			if m.Type == "cgroup" || m.Type == "cgroup2" {
				mounts[place] = dir
			}
		}
		if o, err := mount.ParseOptions(m.Options); m.Type == "bind" || err == nil && o.Bind {
			mounts[path.Clean(m.Destination)] = m.Source
		}
	}
	for _, masked := range spec.Linux.MaskedPaths { // those that are files, see mount.Root.Mask
		mounts[path.Clean(masked)] = os.DevNull
	}
	for _, d := range spec.Linux.Devices { // which are mounted in a user namespace
		mounts[path.Clean(d.Path)] = d.Path
	}
	return mounts
}

// rememberDescriptors writes descriptorsFile: a pipe or a socket is called by its own
// name (pipe(7)), a file outside the container's mounts by mount and inode.
func rememberDescriptors(pid int, images string) (files []string, err error) {
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	for fd := range 3 {
		name := fmt.Sprintf("/proc/%d/fd/%d", pid, fd)
		link, err := os.Readlink(name)
		if err != nil {
			files = append(files, "") // it was closed
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
		if err != nil {
			return nil, err
		}
		var id int
		_, after, _ := strings.Cut(string(info), "mnt_id:")
		if _, err := fmt.Sscan(after, &id); err != nil {
			return nil, fmt.Errorf("read mnt_id of descriptor %d: %w", fd, err)
		}
		inside := strings.HasPrefix(string(mounts), fmt.Sprintf("%d ", id)) || strings.Contains(string(mounts), fmt.Sprintf("\n%d ", id))
		if strings.HasPrefix(link, "/") && !inside {
			var st unix.Stat_t
			if err := unix.Stat(name, &st); err != nil {
				return nil, fmt.Errorf("look at descriptor %d: %w", fd, err)
			}
			link = fmt.Sprintf("file[%x:%x]", id, st.Ino)
		}
		files = append(files, link)
	}
	text, err := json.Marshal(files)
	if err == nil {
		err = os.WriteFile(filepath.Join(images, descriptorsFile), text, 0o600)
	}
	return files, err
}
