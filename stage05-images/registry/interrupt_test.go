package registry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

// stall makes the registry send half of the second layer and then nothing. The
// channel is closed when it has done so.
func stall(t *testing.T, hub *server) (stalled chan struct{}) {
	t.Helper()
	stalled = make(chan struct{})
	second := digestOf(t, two(t), 1).String()
	hub.inject(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		return on(second, func(w http.ResponseWriter, right *httptest.ResponseRecorder) {
			content := right.Body.Bytes()
			_, _ = w.Write(content[:len(content)/2])
			w.(http.Flusher).Flush()
			close(stalled)
			<-r.Context().Done()
		})(w, r, next)
	})
	return stalled
}

// waitFor waits for a channel, with a bound.
func waitFor(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("no sign after 10 s: " + what)
	}
}

func TestCancelInTheMiddleOfALayer(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t)) // openStore wants nothing unfinished at the end
	ref := hub.push(t, two(t), "x:1")
	stalled := stall(t, hub)

	ctrlC := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		// One after another: the first layer is there before the second begins.
		_, err = registry.Pull(ctx, store, ref, registry.Options{Platform: amd64, Parallel: 1})
	}()
	waitFor(t, stalled, "the second layer")
	cancel(ctrlC)
	select {
	case <-ended:
	case <-time.After(time.Second):
		t.Fatal("the pull goes on for more than a second")
	}
	if want := `pull "` + ref + `": interrupted`; !errors.Is(err, ctrlC) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// The first layer is whole and stays: the next pull asks for the second only.
	hub.forget()
	if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64}); err != nil {
		t.Fatal(err)
	}
	if got := hub.asked("/blobs/"); len(got) != 1 {
		t.Errorf("after the interruption asked for %q", got)
	}
}

func TestAKilledPullLeavesNothingForLong(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	_, dir := openStore(t)
	ref := hub.push(t, two(t), "x:1")
	stalled := stall(t, hub)

	child := exec.Command(os.Args[0], "pull", dir, ref)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, stalled, "the second layer")
	if left := unfinished(t, dir); len(left) != 1 {
		t.Errorf("while it pulls: %q", left)
	}
	// A pull that lives is not disturbed by others who open the store.
	if _, err := image.Open(dir); err != nil {
		t.Fatal(err)
	}
	if left := unfinished(t, dir); len(left) != 1 {
		t.Errorf("after Open: %q", left)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if left := unfinished(t, dir); len(left) != 1 {
		t.Errorf("after the kill: %q", left)
	}
	hub.forget()
	store, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if left := unfinished(t, dir); len(left) != 0 {
		t.Errorf("after the next Open: %q", left)
	}
	if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64}); err != nil {
		t.Error(err)
	}
}

// unfinished lists the writers' folders in the store.
func unfinished(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "tmp", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestCancelWhileTheRegistryIsBusy(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	ref := hub.push(t, two(t), "x:1")
	f, _ := busy("/manifests/", 100, http.StatusTooManyRequests, "30")
	hub.inject(f)
	ctrlC := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(ctrlC) })
	begin := time.Now()
	_, err := registry.Pull(ctx, store, ref, registry.Options{Platform: amd64})
	if took := time.Since(begin); !errors.Is(err, ctrlC) || took > 2*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}
