package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/registry"
)

func TestProgressIsALineForEachLayer(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	img := three(t, assemble.Options{Compression: assemble.None})
	ref := hub.push(t, img, "demo:1")
	for _, state := range []string{"pulled", "already there"} {
		var got bytes.Buffer
		if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Progress: &got}); err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		for i, size := range []string{"5.0 KiB", "2.5 KiB", "3.5 KiB"} {
			fmt.Fprintf(&want, "layer %d/3 %s %s %s\n", i+1, digestOf(t, img, i).String()[:19], size, state)
		}
		if got.String() != want.String() {
			t.Errorf("got\n%swant\n%s", got.String(), want.String())
		}
	}
}

func TestProgressOnATerminalIsABar(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	ref := hub.push(t, three(t, assemble.Options{}), "demo:1")
	screen, terminal := openTerminal(t)
	shown := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(screen) // it ends with EIO when the terminal is closed
		shown <- string(all)
	}()
	_, err := registry.Pull(t.Context(), store, ref, registry.Options{Progress: terminal})
	if err := terminal.Close(); err != nil {
		t.Fatal(err)
	}
	got := <-shown
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "pulled 3 of 3") || !strings.Contains(got, "100%") || !strings.HasSuffix(got, "\n") {
		t.Errorf("on the screen: %q", got)
	}
}

// openTerminal opens a pseudo-terminal of its own (man 7 pty).
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, terminal
}
