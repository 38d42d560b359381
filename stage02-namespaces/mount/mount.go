package mount

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// One mount of a configuration becomes steps: fsopen(2) for a new file system,
// open_tree(2) for a part of the host's, then move_mount(2) into place and
// mount_setattr(2).

// Mount adds the steps for one mount of a container's configuration:
// runtime-spec config.md, "Mounts". The source of a bind mount, and the place
// where the mount goes, are looked at now. A relative destination is taken
// from the root, as the specification says.
func (r *Root) Mount(m specs.Mount) error {
	m.Destination = "/" + strings.TrimPrefix(m.Destination, "/")
	o, err := ParseOptions(m.Options)
	if err != nil {
		return fmt.Errorf("mount %q: %w", m.Destination, err)
	}
	resolved, err := r.view.resolve(m.Destination)
	if err != nil {
		return fmt.Errorf("mount %q: look up its place in the root: %w", tail(m.Destination), err)
	}
	if err := checkPlace(m, o, resolved); err != nil {
		return err
	}
	r.plan.Section(chapter, "mount "+m.Destination)
	switch {
	case o.Remount:
		r.remount(m, o, resolved)
		return nil
	case o.Bind || m.Type == "bind":
		return r.bind(m, o, resolved)
	}
	return r.fileSystem(m, o, resolved)
}

// fileSystem adds the steps that mount a new instance of a file system.
func (r *Root) fileSystem(m specs.Mount, o Options, resolved string) error {
	if m.Type == "" {
		return fmt.Errorf("mount %q: it has neither a type nor the option bind", m.Destination)
	}
	ids, err := r.idMap(m, o)
	if err != nil {
		return err
	}
	if ids != nil && r.user != nil {
		return hint.Add(fmt.Errorf("mount %q on %q: id-mapped in a user namespace of its own: %w", m.Type, m.Destination, unix.EPERM),
			"the kernel id-maps only what belongs to the host there: use a bind mount")
	}
	entries, err := r.copied(m, o, resolved)
	if err != nil {
		return err
	}
	late := r.readOnlyLater(m, &o)
	r.forFileSystem(m, &o, resolved)
	target := r.place(m, resolved, false)
	mounted := r.newMount(m, o, late)
	r.setIDMap(mounted, m.Destination, ids)
	r.copyUp(entries, target, mounted, m.Destination)
	r.attach(mounted, target, m, o)
	if o.IVersion {
		r.countChanges(mounted, m, o)
	}
	if !o.TmpCopyUp { // which shows what was there before
		r.view.mounted(cover{place: resolved, hidden: m.Type != "tmpfs", hosts: m.Type == "devtmpfs"})
	}
	return nil
}

// forFileSystem adds the options that follow from others.
func (r *Root) forFileSystem(m specs.Mount, o *Options, resolved string) {
	// Of a disk, "ro" is also the file system's business: it must not replay
	// its journal, and a disk that is read-only cannot be opened otherwise.
	// What has no disk may be one that the host uses too (sysfs).
	if strings.HasPrefix(m.Source, "/") && o.Attributes.Set&unix.MOUNT_ATTR_RDONLY != 0 {
		o.Data = append(o.Data, "ro")
	}
	if m.Type != "tmpfs" {
		return
	}
	// A new tmpfs has the mode 1777 (tmpfs(5)). Whoever made the image may
	// have thought of another for this directory.
	if _, set := o.value("mode"); !set {
		if mode, ok := r.view.mode(resolved); ok {
			o.Data = append(o.Data, fmt.Sprintf("mode=%o", mode))
		}
	}
}

// readOnlyLater takes "ro" from the options of a tmpfs, so that later mounts
// find or make their places in it, and has Pivot do it at the end. The
// register is the one in which Pivot will look for the mount.
func (r *Root) readOnlyLater(m specs.Mount, o *Options) plan.Register {
	if m.Type != "tmpfs" || o.Attributes.Set&unix.MOUNT_ATTR_RDONLY == 0 {
		return r.plan.Register("mounted")
	}
	o.Attributes.Set &^= unix.MOUNT_ATTR_RDONLY
	mounted := r.plan.Register(fmt.Sprintf("readonly%d", len(r.later)))
	r.later = append(r.later, later{mounted, m.Destination})
	return mounted
}

// newMount adds the steps that make a mount of a new file system that is
// attached nowhere yet, for the register mounted.
func (r *Root) newMount(m specs.Mount, o Options, mounted plan.Register) plan.Register {
	fs := r.plan.Register("fs")
	doing := fmt.Sprintf("mount %q on %q", m.Type, m.Destination)
	r.plan.Add(r.causes(plan.Fsopen(m.Type), m).Into(fs).Doing("%s", doing))
	if m.Source != "" {
		r.plan.Add(r.causes(plan.FsconfigString(fs, "source", m.Source), m).Doing("%s", doing))
	}
	r.configure(fs, m.Type, doing, o.Data)
	r.plan.Add(
		r.causes(plan.FsconfigCreate(fs), m).Doing("%s", doing),
		r.causes(plan.Fsmount(fs, o.Attributes.Set), m).Into(mounted).Doing("%s", doing),
	)
	return mounted
}

// configure adds the steps that tell a file system its options, one by one:
// fsconfig(2).
func (r *Root) configure(fs plan.Register, fstype, doing string, data []string) {
	for _, word := range data {
		step := plan.FsconfigFlag(fs, word)
		key, value, ok := strings.Cut(word, "=")
		if ok {
			step = plan.FsconfigString(fs, key, value)
		}
		r.plan.Add(step.Doing("%s: option %q", doing, word).
			Hint(unix.EINVAL, r.badOption(fstype, key)))
	}
}

// bind adds the steps that show a file or directory of the host in the root.
func (r *Root) bind(m specs.Mount, o Options, resolved string) error {
	info, err := os.Stat(m.Source)
	if err != nil {
		err = fmt.Errorf("bind mount %q on %q: %w", m.Source, m.Destination, hint.Reason(err))
		if errors.Is(err, unix.ENOENT) {
			return hint.Add(err, "the source of a bind mount must exist on the host")
		}
		return err
	}
	if word, found := o.notForBind(); found {
		return hint.Add(fmt.Errorf("bind mount %q on %q: option %q: %w", m.Source, m.Destination, word, unix.EINVAL),
			"an unknown word is meant for a file system, and a bind mount makes no new one")
	}
	for _, word := range o.Data {
		if isSetting(word) {
			r.warnings = append(r.warnings, fmt.Sprintf("bind mount %q on %q: option %q does nothing: a bind mount makes no new file system", m.Source, m.Destination, word))
		}
	}
	if o.TmpCopyUp {
		return fmt.Errorf("bind mount %q on %q: option \"tmpcopyup\" is for tmpfs only", m.Source, m.Destination)
	}
	if err := r.addBind(m, o, resolved, !info.IsDir()); err != nil {
		return err
	}
	r.view.mounted(cover{place: resolved, tree: m.Source})
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
	resolved := r.resolved(m.Destination)
	if err := r.addBind(m, o, resolved, false); err != nil {
		return err
	}
	r.view.mounted(cover{place: resolved, hidden: true})
	return nil
}

// resolved is where the links of the image lead, as far as that can be seen.
func (r *Root) resolved(dest string) string {
	name, err := r.view.resolve(dest)
	if err != nil {
		return inRoot(dest) // the child will say what is wrong
	}
	return name
}

// addBind adds the steps of a bind mount, of a file or of a folder.
func (r *Root) addBind(m specs.Mount, o Options, resolved string, file bool) error {
	ids, err := r.idMap(m, o)
	if err != nil {
		return err
	}
	target := r.place(m, resolved, file)
	mounted, err := r.tree(m, o, ids)
	if err != nil {
		return err
	}
	r.setAttributes(mounted, m.Destination, Options{Attributes: o.Attributes, RecursiveAttributes: o.RecursiveAttributes})
	o.Attributes, o.RecursiveAttributes = Attributes{}, Attributes{}
	r.attach(mounted, target, m, o)
	return nil
}

// tree is a copy of the source of a bind mount, attached nowhere yet. Either
// the child makes it, or it is here already: see handOver for when.
func (r *Root) tree(m specs.Mount, o Options, ids *idMap) (plan.FD, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if o.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	if ids != nil && r.user != nil || r.isShared(o) {
		return r.handOver(m, flags, ids)
	}
	mounted := r.plan.Register("mounted")
	r.plan.Add(plan.OpenTree(plan.CWD, m.Source, flags).Into(mounted).
		Doing("bind mount %q on %q", m.Source, m.Destination).
		Hint(unix.ENOENT, "the source of a bind mount must exist on the host").
		Hint(unix.EINVAL, "the source is unbindable, or, for who has a user namespace, has mounts below it that the option bind would uncover: use rbind"))
	r.setIDMap(mounted, m.Destination, ids)
	return mounted, nil
}

// attach adds the step that puts a mount in its place, and what can only be
// changed there.
func (r *Root) attach(mounted, target plan.FD, m specs.Mount, o Options) {
	r.plan.Add(plan.MoveMount(mounted, target).Doing("mount %q on %q", cmp.Or(m.Type, "bind"), m.Destination).
		Hint(unix.ENOTDIR, unlikeKinds).Hint(unix.EINVAL, unlikeKinds))
	o.Attributes = Attributes{}
	r.setAttributes(mounted, m.Destination, o)
}

// setAttributes adds the steps that change a mount's attributes and
// propagation. mount_setattr(2) leaves what is not named as it is, so the
// attributes that a user namespace has locked stay.
func (r *Root) setAttributes(mounted plan.FD, dest string, o Options) {
	change := func(flags uint, attr unix.MountAttr) {
		r.plan.Add(plan.MountSetattr(mounted, flags, attr).Doing("change attributes of mount %q", dest).
			Hint(unix.EINVAL, "attributes belong to a mount: is something mounted there?").
			Hint(unix.EPERM, "a user namespace cannot take back the attributes of the host's mounts (ro, nosuid, nodev, noexec, noatime)"))
	}
	if a := o.Attributes; !a.empty() {
		change(0, unix.MountAttr{Attr_set: a.Set, Attr_clr: a.Clear})
	}
	if a := o.RecursiveAttributes; !a.empty() {
		change(unix.AT_RECURSIVE, unix.MountAttr{Attr_set: a.Set, Attr_clr: a.Clear})
	}
	for _, p := range o.Propagation {
		var flags uint
		if p.Recursive {
			flags = unix.AT_RECURSIVE
		}
		change(flags, unix.MountAttr{Propagation: p.Kind})
	}
}

// Attach adds the steps that mount what the parent has prepared: fd is a
// mount that is attached nowhere.
func (r *Root) Attach(fd plan.FD, m specs.Mount) {
	r.plan.Section(chapter, "mount "+m.Destination)
	resolved := r.resolved(m.Destination)
	target := r.place(m, resolved, false)
	r.attach(fd, target, m, Options{})
	r.view.mounted(cover{place: resolved, hidden: true})
}
