package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// What chapter 2 gives to an OCI container: user and time namespaces, mounts with
// other ids, how mounts travel. runtime-spec config-linux.md, config.md "Mounts".

// idsFrom are ids of the host from 100000 on.
var idsFrom = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100_000, Size: 65_536}}

// ownUsers gives a configuration a user namespace, whose root is 100000.
func ownUsers(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings, s.Linux.GIDMappings = idsFrom, idsFrom
}

// reachable lets other users walk to the bundle.
func (b *bundle) reachable() {
	b.Helper()
	b.must(os.Chmod(b.dir, 0o755))
	b.must(os.Chmod(b.dir+"/..", 0o755))
	b.must(os.Chown(b.path("."), int(idsFrom[0].HostID), int(idsFrom[0].HostID))) // mount points are made there
}

func TestRootOfAUserNamespaceIsNobodyOutside(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, ownUsers, writable, program("sh", "-c",
		"busybox id -u; busybox id -G; busybox cat /proc/self/uid_map; echo x > /dev/null; busybox stat -c %t:%T /dev/null; echo > /made/file"))
	b.reachable()
	b.must(os.Mkdir(b.path("made"), 0o777))
	b.must(os.Chmod(b.path("made"), 0o777))
	if got := strings.Join(strings.Fields(b.succeed("run", "--bundle", b.dir, b.id)), " "); got != "0 0 0 100000 65536 1:3" {
		t.Errorf("got %q", got)
	}
	if got := ownerOf(b, b.path("made/file")); got != "100000:100000" {
		t.Errorf("outside its file is of %s", got)
	}
}

// ownerOf is the uid and gid of a file, as busybox's stat says them.
func ownerOf(b *bundle, path string) string {
	b.Helper()
	info, err := os.Stat(path)
	b.must(err)
	uid, gid := ids(info)
	return fmt.Sprintf("%d:%d", uid, gid)
}

// With a mount of other ids, the host's files look as if they belonged to the
// container's users, and what is written there belongs to the host's.
func TestAnIDMappedMount(t *testing.T) {
	testkit.HostUnchanged(t)
	shown := t.TempDir()
	mapped := func(options ...string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{
				Destination: "/shown", Type: "bind", Source: shown, Options: append(options, "rbind"),
				UIDMappings: idsFrom, GIDMappings: idsFrom,
			})
		}
	}
	b := newBundle(t, ownUsers, writable, mapped("idmap"), program("sh", "-c", "busybox stat -c %u:%g /shown; echo > /shown/file"))
	b.reachable()
	if got := b.succeed("run", "--bundle", b.dir, b.id); got != "0:0\n" {
		t.Errorf("inside it is of %s", got)
	}
	if got := ownerOf(b, shown+"/file"); got != "0:0" {
		t.Errorf("outside the new file is of %s", got)
	}
}

func TestTheClocksOfATimeNamespace(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("cat", "/proc/self/timens_offsets"), func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000, Nanosecs: 7}, "monotonic": {Secs: 5}}
	})
	if got := strings.Join(strings.Fields(b.succeed("run", "--bundle", b.dir, b.id)), " "); got != "monotonic 5 0 boottime 1000 7" {
		t.Errorf("got %q", got)
	}
}

func TestTimeOffsetsNeedANewTimeNamespace(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("true"), func(s *specs.Spec) {
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000}}
	})
	r := b.do("run", "--bundle", b.dir, b.id)
	if r.status == 0 || !strings.HasPrefix(r.err, "skiff-oci: linux.timeOffsets: time offsets need a new time namespace\n") {
		t.Errorf("status %d: %s", r.status, r.err)
	}
	b.wantNothing()
}

// A tmpfs may begin with what the image has in its place.
func TestATmpfsBeginsWithTheImagesFiles(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("sh", "-c", "cat /data/deep/note; busybox stat -c %a /data; echo changed > /data/deep/note; busybox stat -f -c %T /data"),
		func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup"}})
		})
	b.must(os.MkdirAll(b.path("data/deep"), 0o755))
	b.must(os.Chmod(b.path("data"), 0o750))
	b.must(os.WriteFile(b.path("data/deep/note"), []byte("from the image\n"), 0o644))
	if got := b.succeed("run", "--bundle", b.dir, b.id); got != "from the image\n750\ntmpfs\n" {
		t.Errorf("got %q", got)
	}
	if got := b.read(b.path("data/deep/note")); got != "from the image\n" {
		t.Errorf("the image's file has become %q", got)
	}
}

func TestHowMountsTravel(t *testing.T) {
	testkit.HostUnchanged(t)
	for word, want := range map[string]string{"": "", "private": "", "shared": "shared:", "unbindable": "unbindable"} {
		b := newBundle(t, program("sh", "-c", "while read id parent dev root point options tags; do test $point = / && echo $tags; done < /proc/self/mountinfo; true"),
			func(s *specs.Spec) { s.Linux.RootfsPropagation = word })
		got := b.succeed("run", "--bundle", b.dir, b.id)
		if tags, _, _ := strings.Cut(got, "-"); !strings.HasPrefix(tags, want) || want == "" && strings.TrimSpace(tags) != "" {
			t.Errorf("rootfsPropagation %q: the root has the tags %q", word, tags)
		}
	}
}

func TestGroupsThatCannotBeSet(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("true"))
	b.reachable()
	b.edit(func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{7} }, ownUsers, func(s *specs.Spec) {
		own := []specs.LinuxIDMapping{{ContainerID: 0, HostID: nobody, Size: 1}}
		s.Linux.UIDMappings, s.Linux.GIDMappings = own, own
	})
	cmd := b.asNobody("run", "--bundle", b.dir, b.id)
	r := b.finish(cmd)
	if r.status == 0 || !strings.Contains(r.err, "process.user.additionalGids [7]: setgroups is denied in the container's user namespace\nhint: ") {
		t.Errorf("status %d: %s", r.status, r.err)
	}
}

// A path may lead to the namespace that skiff-oci itself is in. What would be
// changed there is the host's. It plays the host in namespaces of its own here, in
// case it does.
func TestTheHostsOwnNamespacesAreNotChanged(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare")
	own := func(kind specs.LinuxNamespaceType, file string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			for i, n := range s.Linux.Namespaces {
				if n.Type == kind {
					s.Linux.Namespaces[i].Path = "/proc/self/ns/" + file
				}
			}
		}
	}
	for want, edits := range map[string][]func(*specs.Spec){
		"hostname or domainname is set, but the uts namespace": {own(specs.UTSNamespace, "uts")},
		"hostname or domainname is set, but linux.namespaces has no uts": {func(s *specs.Spec) {
			s.Hostname, s.Domainname = "", "evil"
			s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UTSNamespace })
		}},
	} {
		b := newBundle(t, append(edits, program("true"))...)
		cmd := b.command("run", "--bundle", b.dir, b.id)
		cmd.Args = append([]string{"unshare", "--mount", "--uts", "--propagation", "private"}, cmd.Args...)
		cmd.Path = mustFind(b, "unshare")
		r := b.finish(cmd)
		if r.status == 0 || !strings.Contains(r.err, want) {
			t.Errorf("status %d: %s; want %q", r.status, r.err, want)
		}
		b.wantNothing()
	}
}

// mustFind is where a program is.
func mustFind(b *bundle, name string) string {
	b.Helper()
	path, err := exec.LookPath(name)
	b.must(err)
	return path
}
