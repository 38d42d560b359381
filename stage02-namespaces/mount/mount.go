package mount

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// One mount of a configuration becomes steps: fsopen(2) for a new file system,
// open_tree(2) for a part of the host's, then move_mount(2) into place and
// mount_setattr(2).

// Mount adds the steps for one mount of a container's configuration.
// The source of a bind mount is looked at now, to know whether its mount
// point must be a file or a directory.
func (r *Root) Mount(m specs.Mount) error {
	o, err := ParseOptions(m.Options)
	if err != nil {
		return fmt.Errorf("mount %q: %w", m.Destination, err)
	}
	if !strings.HasPrefix(m.Destination, "/") {
		return fmt.Errorf("mount %q: the destination is not an absolute path", m.Destination)
	}
	if err := checkProc(m); err != nil {
		return err
	}
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		return fmt.Errorf("mount %q: id-mapped mounts are not supported", m.Destination)
	}
	r.plan.Section(chapter, "mount "+m.Destination)
	switch {
	case o.Remount:
		target := r.point(m.Destination, false, resolveFor(m.Type))
		r.setAttributes(target, m.Destination, o)
		return nil
	case o.Bind || m.Type == "bind":
		return r.bind(m, o)
	}
	return r.fileSystem(m, o)
}

// fileSystem adds the steps that mount a new instance of a file system.
func (r *Root) fileSystem(m specs.Mount, o Options) error {
	if m.Type == "" {
		return fmt.Errorf("mount %q: it has neither a type nor the option bind", m.Destination)
	}
	target := r.point(m.Destination, false, resolveFor(m.Type))
	mounted := r.NewMount(m.Type, m.Source, o, m.Destination)
	r.attach(mounted, target, m, o)
	return nil
}

// NewMount adds the steps that make a mount of a new file system that is
// attached nowhere yet, and returns the register that holds it. dest is only
// for the words of an error.
func (r *Root) NewMount(fstype, source string, o Options, dest string) plan.Register {
	fs, mounted := r.plan.Register("fs"), r.plan.Register("mounted")
	doing := fmt.Sprintf("mount %q on %q", fstype, dest)
	r.plan.Add(plan.Fsopen(fstype).Into(fs).Doing("%s", doing))
	if source != "" {
		r.plan.Add(plan.FsconfigString(fs, "source", source).Doing("%s", doing))
	}
	for _, data := range o.Data {
		step := plan.FsconfigFlag(fs, data)
		if key, value, ok := strings.Cut(data, "="); ok {
			step = plan.FsconfigString(fs, key, value)
		}
		r.plan.Add(step.Doing("%s: option %q", doing, data).
			Hint(unix.EINVAL, fmt.Sprintf("%s has no such option, or not with this value", fstype)))
	}
	r.plan.Add(
		plan.FsconfigCreate(fs).Doing("%s", doing),
		plan.Fsmount(fs, o.Attributes.Set).Into(mounted).Doing("%s", doing),
	)
	return mounted
}

// bind adds the steps that show a file or directory of the host in the root.
func (r *Root) bind(m specs.Mount, o Options) error {
	info, err := os.Stat(m.Source)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return fmt.Errorf("bind mount %q on %q: %w", m.Source, m.Destination, err)
	}
	if len(o.Data) > 0 {
		return fmt.Errorf("bind mount %q on %q: unknown option %q", m.Source, m.Destination, o.Data[0])
	}
	r.addBind(m, o, !info.IsDir())
	return nil
}

// BindFolder adds the steps that show a folder of the host in the root. Other
// than with Mount the folder need not exist yet, only when the plan runs.
func (r *Root) BindFolder(m specs.Mount) error {
	o, err := ParseOptions(m.Options)
	if err != nil {
		return fmt.Errorf("mount %q: %w", m.Destination, err)
	}
	r.plan.Section(chapter, "mount "+m.Destination)
	r.addBind(m, o, false)
	return nil
}

// addBind adds the steps of a bind mount, of a file or of a folder.
func (r *Root) addBind(m specs.Mount, o Options, file bool) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if o.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	target, mounted := r.point(m.Destination, file, resolveFor(m.Type)), r.plan.Register("mounted")
	r.plan.Add(plan.OpenTree(plan.CWD, m.Source, flags).Into(mounted).
		Doing("bind mount %q on %q", m.Source, m.Destination))
	r.setAttributes(mounted, m.Destination, Options{Attributes: o.Attributes, RecursiveAttributes: o.RecursiveAttributes})
	o.Attributes, o.RecursiveAttributes = Attributes{}, Attributes{}
	r.attach(mounted, target, m, o)
}

// attach adds the step that puts a mount in its place, and what can only be
// changed there.
func (r *Root) attach(mounted, target plan.FD, m specs.Mount, o Options) {
	r.plan.Add(plan.MoveMount(mounted, target).Doing("mount %q on %q", or(m.Type, "bind"), m.Destination))
	o.Attributes = Attributes{}
	r.setAttributes(mounted, m.Destination, o)
}

// setAttributes adds the steps that change a mount's attributes and
// propagation. mount_setattr(2) leaves what is not named as it is, so the
// attributes that a user namespace has locked stay.
func (r *Root) setAttributes(mounted plan.FD, dest string, o Options) {
	change := func(flags uint, attr unix.MountAttr) {
		r.plan.Add(plan.MountSetattr(mounted, flags, attr).Doing("change attributes of mount %q", dest))
	}
	if a := o.Attributes; !a.empty() {
		change(0, unix.MountAttr{Attr_set: a.Set, Attr_clr: a.Clear})
	}
	if a := o.RecursiveAttributes; !a.empty() {
		change(unix.AT_RECURSIVE, unix.MountAttr{Attr_set: a.Set, Attr_clr: a.Clear})
	}
	if o.Propagation != 0 {
		var flags uint
		if o.PropagationRecursive {
			flags = unix.AT_RECURSIVE
		}
		change(flags, unix.MountAttr{Propagation: o.Propagation})
	}
}

// Attach adds the steps that mount what the parent has prepared: fd is a
// mount that is attached nowhere.
func (r *Root) Attach(fd plan.FD, m specs.Mount) {
	r.plan.Section(chapter, "mount "+m.Destination)
	target := r.point(m.Destination, false, resolveFor(m.Type))
	r.attach(fd, target, m, Options{})
}

// overProc are the files below /proc that a mount may cover: what lxcfs
// replaces, so that a container sees its own limits.
var overProc = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/slabinfo", "/proc/stat",
	"/proc/swaps", "/proc/uptime",
}

// checkProc refuses mounts that would hide /proc, or parts of it that decide
// about security, behind the container's own files (CVE-2019-19921).
func checkProc(m specs.Mount) error {
	dest := "/" + strings.TrimPrefix(inRoot(m.Destination), ".")
	if dest != "/proc" && !strings.HasPrefix(dest, "/proc/") || dest == "/proc" && m.Type == "proc" ||
		slices.Contains(overProc, dest) {
		return nil
	}
	return fmt.Errorf("mount %q: only a proc file system may be mounted on /proc, and nothing below it but %s",
		m.Destination, strings.Join(overProc, " "))
}

// or is a, or b when a is empty.
func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
