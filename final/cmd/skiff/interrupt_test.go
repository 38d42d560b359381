package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// stalled is a registry that sends the beginning of a blob and then nothing,
// until the client hangs up. It tells when it has begun.
func stalled() (d disturbance, begun <-chan struct{}) {
	started := make(chan struct{}, 100)
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
		_, _ = w.Write(answer.Body.Bytes()[:1])
		w.(http.Flusher).Flush()
		started <- struct{}{}
		<-r.Context().Done()
	}, started
}

func TestCtrlCDuringPull(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			testkit.HostUnchanged(t)
			m := newMachine(t)
			stall, begun := stalled()
			m.disturb.Store(stall)
			r := m.start("", "run", m.image)
			<-begun
			r.signal(s)
			if status := r.end(); status != 130 {
				t.Errorf("status %d, want 130", status)
			}
			if message := wantOneLine(t, "Ctrl-C", r.said()); !strings.Contains(message, "interrupted") {
				t.Errorf("it says %s", message)
			}
			m.wantNothing()
			m.wantNoHalves()
			// What was there is of use to the next attempt.
			m.disturb.Store(disturbance(nil))
			m.run(nil)
		})
	}
}

// wantNoHalves asserts that the store has no unfinished file.
func (m *machine) wantNoHalves() {
	m.Helper()
	for _, pattern := range []string{"ingest/*", "layers/.*", "layers/*.tmp*"} {
		left, err := filepath.Glob(filepath.Join(m.root, "images", pattern))
		if err != nil || len(left) > 0 {
			m.Errorf("left in the store: %v, %v", left, err)
		}
	}
}

func TestCtrlCDuringRun(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	// Not "echo ready; exec sleep": it is said by a shell, which catches SIGINT.
	r := m.start("ready", "run", m.image, "sh", "-c", "echo ready >/dev/shm/ready; exec tail -f /dev/shm/ready")
	r.signal(syscall.SIGINT)
	if status := r.end(); status != 137 && status != 130 {
		t.Errorf("status %d, want 130 or 137: %s", status, r.said())
	}
	m.wantNothing()
}

func TestAProgramMayCatchCtrlC(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	r := m.start("ready", "run", m.image, "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.01; done")
	r.signal(syscall.SIGINT)
	if status := r.end(); status != 9 || !strings.Contains(r.said(), "caught") {
		t.Errorf("status %d, want 9: %s", status, r.said())
	}
	m.wantNothing()
}

// A killed skiff can unmake nothing itself. `skiff gc` does it, and the next
// run does as well.
func TestWhatAKilledRunLeavesIsUnmadeByTheNext(t *testing.T) {
	for name, next := range map[string][]string{"gc": {"gc"}, "run": {"run", "IMAGE", "echo", "next"}} {
		t.Run(name, func(t *testing.T) {
			testkit.HostUnchangedAsInit(t)
			m := newMachine(t).pulled()
			r := m.start("ready", "run", "--name", "box", "--memory", "64m", m.image, "sh", "-c", "echo ready; exec sleep 1000")
			r.signal(syscall.SIGKILL)
			r.end()
			if _, err := os.Stat(filepath.Join(m.state, "containers", "box")); err != nil {
				t.Errorf("nothing to unmake: %v", err)
			}
			if name == "run" {
				next[1] = m.image
			}
			got := m.do(next...)
			if got.status != 0 || !strings.Contains(got.err, "container box had been left behind; removed") {
				t.Errorf("status %d: %s", got.status, got.err)
			}
			m.wantNothing()
		})
	}
}

// Others' containers are not what a killed run has left.
func TestGCLeavesRunningContainersAlone(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	r := m.start("ready", "run", m.image, "sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done")
	if got := m.do("gc"); got.status != 0 || got.err != "" {
		t.Errorf("gc: status %d: %s", got.status, got.err)
	}
	r.signal(syscall.SIGTERM)
	if status := r.end(); status != 4 {
		t.Errorf("status %d, want 4: %s", status, r.said())
	}
}
