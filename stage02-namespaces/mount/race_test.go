package mount_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// Races: somebody who shares a folder with the container changes it at the
// very moment at which it is used.

// A race has a root in which /volume/point, a folder, and /volume/link, a link
// to a folder outside, are exchanged without end.
type race struct{ root, outside string }

func newRace(t *testing.T) race {
	t.Helper()
	r := race{root: t.TempDir(), outside: t.TempDir()}
	mkdir(t, r.root+"/volume/point")
	mkdir(t, r.root+r.outside) // where the link leads when it is resolved in the root
	symlink(t, r.outside, r.root+"/volume/link")
	return r
}

// run makes containers, each with many mounts: every one is a round of the
// race. It returns how many came to be below which place.
func (r race) run(t *testing.T, containers, each int, m func(round int) specs.Mount) map[string]int {
	t.Helper()
	places := map[string]int{}
	stop := swap(t, r.root+"/volume/point", r.root+"/volume/link")
	defer stop()
	for c := range containers {
		t.Run("", func(t *testing.T) {
			var all []specs.Mount
			for i := range each {
				all = append(all, m(c*each+i))
			}
			r.look(t, all, places)
		})
	}
	t.Logf("in %d rounds: %v", containers*each, places)
	return places
}

// look makes one container and counts where its mounts are.
func (r race) look(t *testing.T, all []specs.Mount, places map[string]int) {
	t.Helper()
	c, err := attempt(t, r.root, mounts(all...))
	for _, fine := range []error{unix.EAGAIN, unix.ENOENT, unix.ENOTDIR} {
		if errors.Is(err, fine) { // the kernel noticed the swap
			places[fine.Error()]++
			return
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(procFile(c.Pid, "mountinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		switch point := strings.Fields(line)[4]; {
		case point == "/":
		case strings.HasPrefix(point, "/volume/"): // the folder, under the name that it has now
			places["volume"]++
		case strings.HasPrefix(point, r.outside):
			places["where the link leads in the root"]++
		default:
			t.Errorf("a mount on %s", point)
		}
	}
}

// CVE-2021-30465: the mount point is swapped for a link. A mount that had gone
// to the folder outside would not be among those that the container, which has
// left the host's root, still sees.
func TestASwappedMountPointNeverLeadsOutside(t *testing.T) {
	testkit.HostUnchanged(t)
	r := newRace(t)
	const containers, each = 100, 100
	places := r.run(t, containers, each, func(int) specs.Mount { return tmpfs("/volume/point") })
	in, through := places["volume"], places["where the link leads in the root"]
	if in == 0 || through == 0 {
		t.Errorf("the swap was never met: %v", places)
	}
	noticed := places[unix.EAGAIN.Error()] + places[unix.ENOENT.Error()] + places[unix.ENOTDIR.Error()]
	if want := (containers - noticed) * each; in+through != want {
		t.Errorf("%d mounts are in the root, want %d", in+through, want)
	}
}

// CVE-2024-45310: folders are made on the way to the mount point.
func TestNoFolderIsMadeThroughASwappedLink(t *testing.T) {
	testkit.HostUnchanged(t)
	r, source := newRace(t), t.TempDir()
	r.run(t, 100, 3, func(i int) specs.Mount { return bind(source, fmt.Sprintf("/volume/point/a%d/b", i)) })
	if made, err := filepath.Glob(r.root + "/volume/*/*/b"); len(made) == 0 {
		t.Errorf("no folder was made in the volume: %v", err)
	}
	if made, err := os.ReadDir(r.outside); len(made) > 0 || err != nil {
		t.Errorf("outside there is %v, %v", made, err)
	}
}

// swap exchanges two paths again and again until the function that it
// returns is called.
func swap(t *testing.T, a, b string) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-end:
				ended <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
				<-end
				ended <- err
				return
			}
		}
	}()
	return func() {
		close(end)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
