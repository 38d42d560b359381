package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// What is left behind, and who takes it away. The program of a root leaves its
// mounts on the host when it ends, and a demonstration that was killed leaves
// its folder: umount2(2), proc_pid_mountinfo(5), flock(2).

// clean unmounts all that is mounted below the roots; without any, it removes
// the folders of demonstrations that were killed. It says to w what it did.
func clean(w io.Writer, roots []string) error {
	if len(roots) == 0 {
		return removeKilled(w)
	}
	for _, root := range roots {
		if err := checkNotHost(root); err != nil {
			return err
		}
		if err := unmountBelow(w, root); err != nil {
			return err
		}
	}
	return nil
}

// unmountBelow unmounts all that is mounted below dir, the last mount first.
func unmountBelow(w io.Writer, dir string) error {
	points, err := mountedBelow(dir)
	if err != nil {
		return err
	}
	for _, point := range slices.Backward(points) {
		// MNT_DETACH: the mount loses its name now, and ends when the last
		// program that uses it does.
		if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return hint.Add(fmt.Errorf("unmount %q: %w", point, err), "unmounting needs CAP_SYS_ADMIN: run it as root")
		}
		if _, err := fmt.Fprintf(w, "unmounted %s\n", point); err != nil {
			return err
		}
	}
	return nil
}

// mountedBelow lists the mount points below dir, in the order in which they
// were mounted.
func mountedBelow(dir string) ([]string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	const file = "/proc/self/mountinfo"
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			return nil, fmt.Errorf("%s: not a mount: %q", file, line)
		}
		if point := octal.Replace(fields[4]); strings.HasPrefix(point, real+"/") {
			points = append(points, point)
		}
	}
	return points, nil
}

// octal undoes what the kernel does to characters that would end a field.
var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#")

// demoFolder is how the folders of demonstrations are called.
const demoFolder = "stage01-[0-9]*"

// removeKilled removes the folders of demonstrations that have ended without
// doing so.
func removeKilled(w io.Writer) error {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), demoFolder))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		lock, err := lockFolder(folder)
		if err != nil {
			continue // its demonstration goes on, or it is gone, or is not ours
		}
		err = errors.Join(removeFolder(w, folder), lock.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// removeFolder removes a folder, after what is mounted in it: that may be a
// part of the host.
func removeFolder(w io.Writer, dir string) error {
	if err := unmountBelow(w, dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "removed %s\n", dir)
	return err
}

// lockFolder opens a folder of this user and locks it. The lock ends with the
// process, also when that is killed.
func lockFolder(name string) (*os.File, error) {
	dir, err := os.OpenFile(name, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(dir.Fd()), &st)
	if err == nil && int(st.Uid) != os.Geteuid() {
		err = unix.EPERM // anybody may make a folder of this name in /tmp
	}
	if err == nil {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %q: %w", name, err), dir.Close())
	}
	return dir, nil
}
