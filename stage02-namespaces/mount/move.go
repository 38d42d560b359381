package mount

// A root without pivot_root(2), which cannot replace a root on an initramfs: the new
// root is moved on top of the old one, and chroot(2) steps into it. The host's mounts
// stay in the process's mount namespace, underneath: whoever may unmount there
// (CAP_SYS_ADMIN) finds them again. mount_namespaces(7), move_mount(2).

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Move adds the steps that make the root the process's root and leave the host's
// beneath it. It is called in place of Pivot.
func (r *Root) Move() error {
	if r.propagation.Kind == unix.MS_PRIVATE {
		return errors.New("linux.rootfsPropagation is private: without pivot_root the container would keep mounted what the host unmounts")
	}
	hosts, err := kernelViews(r.view.path)
	if err != nil {
		return err
	}
	r.warnings = append(r.warnings, "without pivot_root the host's file system stays beneath the container's root: "+
		"a process with CAP_SYS_ADMIN in there finds the way back")
	r.readOnlyNow()
	r.plan.Section(chapter, "hide the host's proc and sysfs")
	for i, point := range hosts {
		gone := r.plan.Register(fmt.Sprintf("hidden%d", i))
		r.plan.Add(
			plan.Umount2(point, unix.MNT_DETACH).Into(gone).Accept(unix.EINVAL, unix.EPERM, unix.ENOENT),
			// Locked, as in a user namespace: then it is covered. Or it has gone with
			// one above.
			plan.Mount("tmpfs", point, "tmpfs", 0, "").Accept(unix.ENOENT).Unless(gone),
		)
	}
	top := r.plan.Register("top")
	r.plan.Section(chapter, "cover the host's file system")
	r.plan.Add(
		plan.Openat2(plan.CWD, "/", directory(0)).Into(top),
		plan.Fchdir(r.fd).Doing("change directory to the new root"),
		plan.MoveMount(r.fd, top).Doing("move the root file system on \"/\""),
		plan.Chroot("."),
		plan.Chdir("/"),
	)
	r.propagate()
	return nil
}

// kernelViews are the places outside root where all of a proc or sysfs file system is
// mounted, the last one first: proc_pid_mountinfo(5). While there is one in its mount
// namespace, even hidden under the root, root of a user namespace may mount another
// that masks nothing (mount_too_revealing() in fs/namespace.c of the kernel).
func kernelViews(root string) (points []string, err error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("look for the host's proc and sysfs: %w", err)
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(text)) {
		place, source, _ := strings.Cut(line, " - ")
		fields := strings.Fields(place)
		kernels := strings.HasPrefix(source, "proc ") || strings.HasPrefix(source, "sysfs ")
		if !kernels || len(fields) < 5 || fields[3] != "/" {
			continue
		}
		if point := unescape.Replace(fields[4]); !strings.HasPrefix(point+"/", strings.TrimSuffix(root, "/")+"/") {
			points = append(points, point)
		}
	}
	slices.Reverse(points)
	return points, nil
}
