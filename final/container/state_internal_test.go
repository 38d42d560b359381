package container

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

func TestContainerIDs(t *testing.T) {
	for _, id := range []string{"a", "box-1", "A_b+c.d", "...", ".a", "0", "-", strings.Repeat("x", 255)} {
		if err := validID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", "../a", "/", "a b", "a\n", "a\x00", "ä", "\xff", "a:b", strings.Repeat("x", 256)} {
		if err := validID(id); err == nil || !strings.Contains(hint.Of(err), "at most 255") {
			t.Errorf("%q: got %v", id, err)
		}
	}
}

// An id never leads out of the state folder, whatever is done with it.
func TestNoOperationTakesAnIDThatIsAPath(t *testing.T) {
	root := t.TempDir()
	r := &Runtime{Root: filepath.Join(root, "containers")}
	victim := filepath.Join(root, "victim")
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	_, stateErr := r.State("../victim")
	_, _, makeErr := makeFolder(r.Root, "../victim")
	for _, err := range []error{stateErr, makeErr, r.Kill("../victim", unix.SIGKILL), r.Delete("../victim", true)} {
		if err == nil || !strings.Contains(err.Error(), `container id "../victim" is not valid`) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error(err)
	}
}

// sleeper is a process that does nothing, until the test ends.
func sleeper(t *testing.T) (pid int, started uint64) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed, and says so
	})
	started, runs := startTime(cmd.Process.Pid)
	if !runs {
		t.Fatal("the process does not run")
	}
	return cmd.Process.Pid, started
}

// remembered makes a container's state folder with this state in it, held by
// nobody.
func remembered(t *testing.T, r *Runtime, s State) (dir string) {
	t.Helper()
	dir, held, err := makeFolder(r.Root, s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.write(dir), held.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheStateIsReadAsItWasWritten(t *testing.T) {
	r := &Runtime{Root: t.TempDir()}
	pid, started := sleeper(t)
	want := State{
		State: specs.State{
			Version: "1.2.0", ID: "box", Status: specs.StateCreated, Pid: pid, Bundle: "/srv/box",
			Annotations: map[string]string{"a": "b"},
		},
		Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), StartTime: started, Rootfs: "/srv/box/rootfs",
	}
	dir := remembered(t, r, want)
	for _, c := range []struct {
		waits, began bool // at the FIFO, and no longer
		status       specs.ContainerState
	}{{false, false, specs.StateCreating}, {true, false, specs.StateCreated}, {true, true, specs.StateRunning}} {
		want.Started, want.Status = c.began, c.status
		if err := want.write(dir); err != nil {
			t.Fatal(err)
		}
		if c.waits {
			if err := os.WriteFile(filepath.Join(dir, startFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := r.State("box")
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("got  %+v\nwant %+v", *got, want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("beside the state there is %v, %v", left, err)
	}
	if _, err := r.State("other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a container that is not there: %v", err)
	}
}

// A pid says little: the kernel gives it to another process some day. Nobody
// may take that one for the container, or kill it.
func TestAReusedPidIsNotTheContainer(t *testing.T) {
	r := &Runtime{Root: t.TempDir()}
	pid, started := sleeper(t)
	remembered(t, r, State{State: specs.State{ID: "old", Pid: pid}, StartTime: started - 1, Started: true})
	got, err := r.State("old")
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != specs.StateStopped || got.Pid != 0 {
		t.Errorf("status %q, pid %d", got.Status, got.Pid)
	}
	if err := r.Kill("old", unix.SIGKILL); err == nil || !strings.Contains(err.Error(), "container not running") {
		t.Errorf("kill: %v", err)
	}
	if err := signalProcess(&State{State: specs.State{ID: "old", Pid: pid}, StartTime: started - 1}, unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal: %v", err)
	}
	if err := r.Delete("old", true); err != nil {
		t.Error(err)
	}
	if !alive(pid, started) {
		t.Error("the other process was killed")
	}
}

func TestAProcessThatIsNoneIsNotAlive(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Start(); err != nil {
		t.Fatal(err)
	}
	started, _ := startTime(dead.Process.Pid)
	// A zombie has ended, though its pid is still taken.
	for deadline := time.Now().Add(5 * time.Second); alive(dead.Process.Pid, started); {
		if time.Now().After(deadline) {
			t.Fatal("a zombie counts as alive")
		}
	}
	if err := dead.Wait(); err != nil {
		t.Error(err)
	}
	for _, pid := range []int{dead.Process.Pid, 0, -1} {
		if alive(pid, started) {
			t.Errorf("process %d is alive", pid)
		}
	}
	if now, runs := startTime(os.Getpid()); !runs || !alive(os.Getpid(), now) {
		t.Error("this process is not alive")
	}
}

// To make the folder is to take the id: of two who try, one gets it.
func TestAnIDIsTakenOnce(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	dir, held, err := makeFolder(root, "box")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, _, err = makeFolder(root, "box")
	if err == nil || err.Error() != `container "box": the id is already in use` || hint.Of(err) == "" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v: others can look into it", info, err)
	}
	if again, err := flock(dir, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		t.Error("the folder is not locked", again.Close())
	}
}

func TestCollectTakesWhatNobodyHolds(t *testing.T) {
	r := &Runtime{Root: t.TempDir()}
	// The pid of nobody: these have stopped.
	stopped := func(id string, attended bool) string {
		return remembered(t, r, State{State: specs.State{ID: id}, Attended: attended})
	}
	orphan := stopped("orphan", true)
	created := stopped("created", false) // its Create was meant to end
	busy := stopped("busy", true)
	held, err := flock(busy, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	young, making, err := makeFolder(r.Root, "young") // without a state: just being made
	if err != nil {
		t.Fatal(err)
	}
	defer making.Close()
	half := filepath.Join(r.Root, "half") // as well, by who was killed
	if err := os.Mkdir(half, 0o700); err != nil {
		t.Fatal(err)
	}
	ids, err := r.Collect()
	if err != nil || !reflect.DeepEqual(ids, []string{"half", "orphan"}) {
		t.Errorf("collected %q, %v", ids, err)
	}
	for dir, stays := range map[string]bool{orphan: false, half: false, created: true, busy: true, young: true} {
		if _, err := os.Stat(dir); (err == nil) != stays {
			t.Errorf("%q: %v, should stay: %t", dir, err, stays)
		}
	}
	// Once nobody holds it, it goes too.
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if ids, err := r.Collect(); err != nil || !reflect.DeepEqual(ids, []string{"busy"}) {
		t.Errorf("collected %q, %v", ids, err)
	}
}

// The process of an orphan ends with it.
func TestCollectEndsTheProcessOfAnOrphan(t *testing.T) {
	r := &Runtime{Root: t.TempDir()}
	pid, started := sleeper(t)
	remembered(t, r, State{State: specs.State{ID: "orphan", Pid: pid}, StartTime: started, Started: true, Attended: true})
	if ids, err := r.Collect(); err != nil || !reflect.DeepEqual(ids, []string{"orphan"}) {
		t.Errorf("collected %q, %v", ids, err)
	}
	if alive(pid, started) {
		t.Error("its process still runs")
	}
	if all, err := r.List(); err != nil || len(all) > 0 {
		t.Errorf("still there: %v, %v", all, err)
	}
}
