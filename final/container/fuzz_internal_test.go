package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A state folder is this program's own, and yet a disk may be full, a process killed,
// a file be restored or edited. Fuzzing writes whatever it likes into its files. What
// follows is an error that says something: no panic, no signal for a process that is
// not the container's, and nothing removed outside of the folder. To look for more,
//
//	go test -run=- -fuzz=FuzzState -fuzzminimizetime=1s ./container

// noHook is the only program that states here may name as a hook: it does not exist.
const noHook = "/nonexistent/hook"

// In the files, PID and START are those of the container's process, and OTHER is the
// pid of a process that is not.
func FuzzState(f *testing.F) {
	const whole = `{"ociVersion":"1.2.0","id":"box","status":"created","pid":PID,"bundle":"/b","startTime":START,"started":true,"rootfs":"/b/r","ownPids":true}`
	report := string(make([]byte, 16))
	f.Add(whole, "", "", "", report, false)
	f.Add(strings.Replace(whole, "PID", "OTHER", 1), whole, "{}", "what\tcall()\t7\t\n", "\xff"+report[1:], true)
	f.Add(`{"id":"box","pid":1}`, "{", "", "a\tb", "\x05", true)
	f.Add(strings.Replace(whole, `"rootfs"`, `"cgroupPaths":{"freezer":"/proc/1/..","":"/"},"resctrl":["/x"],"rootfs"`, 1), "", "", "", report, true)
	f.Add(strings.Replace(whole, `"box"`, `"../other"`, 1), strings.Replace(whole, `"rootfs"`, `"hooks":{"poststop":[{"path":"`+noHook+`"}]},"rootfs"`, 1), "", "", report, true)
	f.Add(whole, "", "", "what\tcall()\t7\t\n", strings.Repeat("\xff", 16), false)
	f.Fuzz(func(t *testing.T, state, deleted, config, plan, report string, force bool) {
		w := newWard(t)
		words := strings.NewReplacer("PID", strconv.Itoa(w.pid), "START", strconv.FormatUint(w.started, 10), "OTHER", strconv.Itoa(w.other))
		for file, text := range map[string]string{
			stateFile: state, deletedFile: deleted, configFile: config, planFile: plan, reportFile: report,
		} {
			if text == "" {
				continue
			}
			if file == stateFile || file == deletedFile {
				text = words.Replace(text)
				skipHooks(t, text)
			}
			if err := os.WriteFile(filepath.Join(w.dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		read, err := w.runtime.State(w.id)
		w.says(err)
		w.says(reportedFailure(w.dir, &State{}))
		_, err = w.runtime.List()
		w.says(err)
		w.says(w.runtime.Kill(w.id, unix.SIGCONT))
		if force {
			w.says(w.runtime.Kill(w.id, unix.SIGKILL))
		}
		w.says(w.runtime.Delete(w.id, force))
		w.isUnharmed(read != nil && read.Pid == w.pid)
	})
}

// skipHooks passes over states that would run programs.
func skipHooks(t *testing.T, text string) {
	t.Helper()
	var s State
	if json.Unmarshal([]byte(text), &s) != nil || s.Hooks == nil {
		return
	}
	h := s.Hooks // of these, delete runs poststop alone
	for _, list := range [][]specs.Hook{h.CreateRuntime, h.CreateContainer, h.StartContainer, h.Poststart, h.Poststop} {
		for _, hook := range list {
			if hook.Path != noHook {
				t.Skip("it names a program")
			}
		}
	}
}

// A ward is a state folder with a process, and beside both those of others.
type ward struct {
	*testing.T
	runtime *Runtime
	id, dir string
	victim  string // a file beside the state folder
	pid     int
	started uint64
	other   int
}

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{T: t, id: "box"}
	root := t.TempDir()
	w.runtime = &Runtime{Root: filepath.Join(root, "containers"), Warn: &bytes.Buffer{}}
	w.dir, w.victim = filepath.Join(w.runtime.Root, w.id), filepath.Join(w.runtime.Root, "other", "file")
	err := errors.Join(os.MkdirAll(w.dir, 0o700), os.MkdirAll(filepath.Dir(w.victim), 0o700), os.WriteFile(w.victim, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	w.pid, w.started = sleeper(t)
	for other := w.started; other == w.started; { // not in the same tick of the clock: it is how they are told apart
		w.other, other = sleeper(t)
	}
	return w
}

// says asserts that an error is one that people can read.
func (w *ward) says(err error) {
	w.Helper()
	if err != nil && strings.TrimSpace(err.Error()) == "" {
		w.Errorf("an error without a word: %#v", err)
	}
}

// isUnharmed asserts that only the container was touched, and its process only if
// the state named it.
func (w *ward) isUnharmed(named bool) {
	w.Helper()
	if _, runs := startTime(w.other); !runs {
		w.Error("another process was ended")
	}
	if !named && !alive(w.pid, w.started) {
		w.Error("a process was ended that the state did not name")
	}
	if _, err := os.Stat(w.victim); err != nil {
		w.Error(err)
	}
	if entries, err := os.ReadDir(w.runtime.Root); err != nil || len(entries) == 0 {
		w.Errorf("beside the container nothing is left: %v", err)
	}
}

// What the fuzzing has found or was helped to find.

func TestAStateThatIsAnotherContainersIsNotTaken(t *testing.T) {
	w := newWard(t)
	s := State{State: specs.State{ID: "other", Pid: w.other}, StartTime: w.started, Started: true}
	if err := s.write(w.dir); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.runtime.Kill(w.id, unix.SIGKILL), w.runtime.Delete(w.id, true)} {
		if err == nil || !strings.Contains(err.Error(), `it is the state of container "other"`) {
			t.Errorf("got %v", err)
		}
	}
	w.isUnharmed(false)
}

// Process 1 of a virtual machine may have begun in its first tick.
func TestAPidWithoutATimeIsNobodys(t *testing.T) {
	if alive(1, 0) {
		t.Error("the container's process is pid 1")
	}
}

func TestAReportThatIsNoneNamesNoStep(t *testing.T) {
	w := newWard(t)
	for file, text := range map[string]string{reportFile: strings.Repeat("\xff", 16), planFile: "what\tcall()\t7\t\n"} {
		if err := os.WriteFile(filepath.Join(w.dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := reportedFailure(w.dir, &State{}); err == nil || !strings.HasPrefix(err.Error(), "a step: ") {
		t.Errorf("got %v", err)
	}
}

// All of a container ends with process 1 of its pid namespace: no other file than the
// state is read for that.
func TestKillNeedsTheStateAlone(t *testing.T) {
	w := newWard(t)
	s := State{State: specs.State{ID: w.id, Pid: w.pid}, StartTime: w.started, Started: true, OwnPids: true, CgroupPaths: map[string]string{"pids": "/none"}}
	if err := errors.Join(s.write(w.dir), w.runtime.Kill(w.id, unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	waitUntilGone(w.pid)
	w.isUnharmed(true)
	if alive(w.pid, w.started) {
		t.Error("its process goes on")
	}
}
