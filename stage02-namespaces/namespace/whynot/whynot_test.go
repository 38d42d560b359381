package whynot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/namespace/whynot"
)

// newuser makes a user namespace, or says why it gets none.
func newuser(t *testing.T) string {
	t.Helper()
	return testkit.Build(t, "../testdata/newuser")
}

// refused is what newuser says where a shell script has prepared the machine,
// or rather a part of it that nobody else sees. "$0" is newuser.
func refused(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("unshare", "-m", "sh", "-c", "set -e; "+script, newuser(t))
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("no error of %q", script)
	}
	return string(out)
}

func TestTheRealReasonIsNamed(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare", "chroot", "mount")
	nest := filepath.Join(t.TempDir(), "nest")
	const script = `n=$1; shift; [ $n != 0 ] || exec "$@"; exec unshare -Ur sh "$0" $((n-1)) "$@"`
	if err := os.WriteFile(nest, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, c := range []struct{ title, script string }{
		// The limit of a new user namespace is its own.
		{"switched off", `exec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$0" -maps self /bin/true' "$0"`},
		{"no networks", `exec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_net_namespaces; exec "$0" -kinds user,network -maps self /bin/true' "$0"`},
		{"33 deep", `exec sh ` + nest + ` 33 "$0" -maps self /bin/true`},
		{"in a chroot", `mkdir -p root/proc; cp "$0" root; mount --bind /proc root/proc; exec chroot root /newuser -maps self /bin/true`},
		// Settings that not every kernel has: a file in their place, and the
		// chroot in place of the kernel that heeds them.
		{"a kernel of Debian", restricted("unprivileged_userns_clone", "0")},
		{"a kernel of Ubuntu", restricted("apparmor_restrict_unprivileged_userns", "1")},
	} {
		fmt.Fprintf(&text, "== %s\n%s", c.title, refused(t, c.script))
	}
	testkit.Golden(t, text.String(), "reasons.golden")
}

// restricted is a script in which an ordinary user gets no user namespace, and
// a kernel parameter has this value.
func restricted(parameter, value string) string {
	return `mkdir -p root/proc root/bin; cp "$0" root; mount --bind /proc root/proc; mount -t tmpfs none root/proc/sys/kernel
		echo ` + value + ` > root/proc/sys/kernel/` + parameter + `; chmod 755 . ..
		exec setpriv --reuid 4242 --regid 4242 --clear-groups --inh-caps +sys_chroot --ambient-caps +sys_chroot \
			chroot root /newuser -maps self /bin/true`
}

func TestEveryErrnoHasItsHint(t *testing.T) {
	for _, c := range []struct {
		flags int
		errno unix.Errno
		want  string
	}{
		{unix.CLONE_NEWUTS, unix.EPERM, "CAP_SYS_ADMIN"},
		{unix.CLONE_NEWPID, unix.ENOSPC, "32 deep"},
		{0, unix.ENOMEM, "process 1"},
		{unix.CLONE_NEWUSER, unix.ENOSYS, "seccomp"},
	} {
		if got := whynot.Namespaces(c.flags, c.errno); !strings.Contains(got, c.want) {
			t.Errorf("%#x, %v: %q", c.flags, c.errno, got)
		}
	}
	if got := whynot.Namespaces(unix.CLONE_NEWUSER, unix.EINTR); got != "" {
		t.Errorf("a hint for nothing: %q", got)
	}
}
