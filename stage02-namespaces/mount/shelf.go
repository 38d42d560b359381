package mount

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// A shelf: a small tmpfs that holds nothing but mount points side by side. The
// cgroup hierarchies of version 1 are shown so: cgroups(7).

// A Folder is one place on a shelf, and the folder of the host that is shown
// there. The latter need only exist when the plan runs.
type Folder struct{ Name, Source string }

// Shelf adds the steps that mount a tmpfs on m.Destination, with a place for
// each folder; m.Options go for each of them, and the tmpfs itself becomes
// read-only if they say so. The shelf is opened once, and what is on it is
// found from there: nobody but this plan can have put a link on it.
func (r *Root) Shelf(m specs.Mount, folders []Folder) error {
	o, err := ParseOptions(m.Options)
	if err != nil {
		return fmt.Errorf("mount %q: %w", m.Destination, err)
	}
	tmpfs := specs.Mount{
		Destination: m.Destination, Type: "tmpfs", Source: "tmpfs",
		Options: []string{"nosuid", "nodev", "noexec", "mode=755"},
	}
	if err := r.Mount(tmpfs); err != nil {
		return err
	}
	resolved := r.resolved(m.Destination)
	shelf, place, mounted := r.plan.Register("shelf"), r.plan.Register("place"), r.plan.Register("mounted")
	r.plan.Add(plan.Openat2(r.fd, inRoot(m.Destination), directory(r.resolveFor(tmpfs, resolved))).Into(shelf).
		Doing("open %q", m.Destination))
	for _, f := range folders {
		dest := m.Destination + "/" + f.Name
		r.plan.Add(
			plan.Mkdirat(shelf, f.Name, 0o755).Doing("make mount point %q", dest),
			plan.Openat2(shelf, f.Name, directory(unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)).Into(place).
				Doing("open mount point %q", dest),
			plan.OpenTree(plan.CWD, f.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC).Into(mounted).
				Doing("bind mount %q on %q", f.Source, dest),
		)
		r.setAttributes(mounted, dest, o)
		r.plan.Add(plan.MoveMount(mounted, place).Doing("bind mount %q on %q", f.Source, dest))
	}
	r.view.mounted(cover{place: resolved, hidden: true})
	if o.Attributes.Set&unix.MOUNT_ATTR_RDONLY != 0 {
		r.setAttributes(shelf, m.Destination, Options{Attributes: Attributes{Set: unix.MOUNT_ATTR_RDONLY}})
	}
	return nil
}
