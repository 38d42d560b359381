package plan_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// A path with ".." in it is looked up again when somebody renames a directory
// meanwhile: openat2(2), EAGAIN. Somebody always does here.
func TestAPathIsLookedUpAgainWhileOthersRename(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"/a", "/from", "/root", "/root/b"} {
		if err := os.Mkdir(dir+name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	stop := renames(t, dir+"/from", dir+"/to")
	defer stop()
	p := &plan.Plan{}
	root, found := p.Register("root"), p.Register("found")
	path := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC}
	inside := path
	inside.Resolve = unix.RESOLVE_IN_ROOT
	p.Add(plan.Openat2(plan.CWD, dir+"/root", path).Into(root))
	for range 10_000 {
		p.Add(plan.Openat2(root, "b/../b/../b/../b", inside).Into(found), plan.Close(found))
	}
	p.Add(plan.Close(root))
	if err := plan.Run(p); err != nil {
		t.Error(err)
	}
}

// renames renames a directory to and fro until the returned function is
// called.
func renames(t *testing.T, from, to string) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := os.Rename(from, to); err != nil {
				t.Error(err)
				return
			}
			from, to = to, from
		}
	}()
	return func() { close(done); <-ended }
}
