package oci

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/binfmt"
	"skiff.example/stage01-chroot/rootfs/lookup"
	"skiff.example/stage02-namespaces/execvp"
	"skiff.example/stage02-namespaces/mount"
)

// Why a program that is there does not start: execve(2) has one errno for a missing
// program, for a missing interpreter and for a missing interpreter of that. Once it has
// failed there is time to look.

// WhyNot says why execve(2), or the look before it, has failed with this errno for the
// program of a configuration, and what to do; "" when nothing is to be seen from the host, as in a
// root that is stacked from layers. The root is looked at as it is by then.
func WhyNot(s *specs.Spec, errno unix.Errno) (cause, advice string) {
	for _, program := range candidates(s.Process) {
		var st unix.Stat_t
		if !statIn(s.Root.Path, program, &st) {
			continue
		}
		if m, ok := noexecMount(s, program); ok && errno == unix.EACCES {
			return fmt.Sprintf("the container mounts %q with noexec", m), "leave out that option, or put the program elsewhere"
		}
		if err := binfmt.Check(s.Root.Path, program); err != nil {
			return reason(err), hint.Of(err)
		}
		if errno == unix.EACCES && s.Process.User.UID != 0 {
			return fmt.Sprintf("user %d has no right to execute it: its mode is %#o, its owner %d:%d", s.Process.User.UID, st.Mode&0o7777, st.Uid, st.Gid), "give it the right with chmod, or take another process.user"
		}
		return "", ""
	}
	return "", ""
}

// candidates are the absolute paths at which the program is looked for.
func candidates(p *specs.Process) []string {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return nil
	}
	all := execvp.Candidates(p.Args[0], p.Env)
	for i, name := range all {
		if !path.IsAbs(name) {
			all[i] = path.Join(p.Cwd, name)
		}
	}
	return all
}

// statIn looks at a file below a root.
func statIn(root, name string, st *unix.Stat_t) bool {
	file, err := lookup.Below(root, name, unix.O_PATH)
	if err != nil {
		return false
	}
	defer file.Close()
	return unix.Fstat(int(file.Fd()), st) == nil
}

// noexecMount is the mount of the configuration that a program is on, if that is
// mounted noexec.
func noexecMount(s *specs.Spec, program string) (dest string, ok bool) {
	for _, m := range slices.Backward(s.Mounts) {
		place := path.Clean("/" + m.Destination)
		if program == place || strings.HasPrefix(program, place+"/") {
			o, err := mount.ParseOptions(m.Options)
			return m.Destination, err == nil && o.Attributes.Set&unix.MOUNT_ATTR_NOEXEC != 0
		}
	}
	return "", false
}

// reason is the part of an error of binfmt.Check that says what is wrong, without the
// place in front of it and the errno after it, which are known.
func reason(err error) string {
	var errno unix.Errno
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	if errors.As(err, &errno) {
		return strings.TrimSuffix(err.Error(), ": "+errno.Error())
	}
	return err.Error()
}
