package mount

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Changing what is mounted already. mount(2) has one flag, MS_REMOUNT, for two
// things that are apart in the newer calls: the attributes of a mount
// (mount_setattr(2)) and the options of a file system (fspick(2)).

// remount adds the steps for the option "remount". What is not named stays as
// it is. With "bind" only the mount is changed, as in mount(8); without it,
// words for the file system go to that, for whoever else has it mounted too.
func (r *Root) remount(m specs.Mount, o Options, resolved string) {
	target := r.plan.Register("target")
	r.plan.Add(plan.Openat2(r.fd, inRoot(m.Destination), anything(r.resolveFor(m, resolved))).Into(target).
		Doing("remount %q", m.Destination).
		Hint(unix.ENOENT, "nothing is there to be mounted again"))
	if len(o.Data) > 0 && !o.Bind {
		fs, doing := r.plan.Register("fs"), fmt.Sprintf("remount %q", m.Destination)
		r.plan.Add(plan.Fspick(target, "").Into(fs).Doing("%s", doing).
			Hint(unix.EINVAL, "nothing is mounted there"))
		r.configure(fs, "this file system", doing, o.Data)
		r.plan.Add(plan.FsconfigReconfigure(fs).Doing("%s", doing))
	}
	if o.Attributes.Clear&unix.MOUNT_ATTR_RDONLY != 0 { // the last word counts
		r.later = slices.DeleteFunc(r.later, func(l later) bool { return inRoot(l.dest) == inRoot(m.Destination) })
	}
	r.setAttributes(target, m.Destination, o)
}

// A later is a mount that Pivot makes read-only.
type later struct {
	mounted plan.Register
	dest    string
}

// readOnlyNow adds the steps that were put off by readOnlyLater.
func (r *Root) readOnlyNow() {
	for _, l := range r.later {
		r.plan.Section(chapter, "read-only mounts")
		r.plan.Add(plan.MountSetattr(l.mounted, 0, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}).
			Doing("make mount %q read-only", l.dest))
	}
	r.later = nil
}

// oldFlags are the words for a file system that a remount with mount(2) sets
// back when they are not said again (MS_RMT_MASK in the kernel).
var oldFlags = meanings[uintptr]{
	{"ro", unix.MS_RDONLY},
	{"sync", unix.MS_SYNCHRONOUS},
	{"mand", unix.MS_MANDLOCK},
	{"lazytime", unix.MS_LAZYTIME},
	{"async", unix.MS_SYNCHRONOUS},
	{"nomand", unix.MS_MANDLOCK},
	{"nolazytime", unix.MS_LAZYTIME},
}

// countChanges adds the steps for "iversion". fsconfig(2) has no word for it:
// file systems that can count changes do so unasked since Linux 6.1 (ext4) or
// always did (xfs, btrfs). The flag MS_I_VERSION is only left in mount(2),
// which takes a path; "." is the one that nobody can swap.
func (r *Root) countChanges(mounted plan.FD, m specs.Mount, o Options) {
	flags := uintptr(unix.MS_REMOUNT | unix.MS_I_VERSION)
	for _, word := range o.Data {
		flag, _ := oldFlags.find(word)
		if strings.HasPrefix(word, "no") || word == "async" {
			flags &^= flag
		} else {
			flags |= flag
		}
	}
	before := r.plan.Register("directory")
	for _, s := range []plan.Step{
		plan.Openat2(plan.CWD, ".", directory(0)).Into(before),
		plan.Fchdir(mounted),
		plan.Mount("", ".", "", flags, ""),
		plan.Fchdir(before),
	} {
		r.plan.Add(s.Doing("mount %q on %q: option \"iversion\"", m.Type, m.Destination))
	}
	r.setAttributes(mounted, m.Destination, Options{Attributes: o.Attributes}) // mount(2) has set them back
}
