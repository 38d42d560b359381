package namespace_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

// privateFolder is a folder on a mount of its own that is not propagated, as
// keeping a mount namespace asks for.
func privateFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(unix.Mount("none", dir, "tmpfs", 0, ""), unix.Mount("", dir, "", unix.MS_PRIVATE, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Each kind is kept, its processes end, and it is joined by the path.
func TestAKeptNamespaceOutlivesItsProcesses(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := privateFolder(t)
	other := holder(t, allTypes()...)
	theirs := of(t, other.Pid)
	for _, k := range namespace.Kinds {
		path := filepath.Join(dir, k.File)
		if err := namespace.Keep(other.Pid, k, path); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // twice is fine
			if err := errors.Join(namespace.Forget(path), namespace.Forget(path)); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file is still there: %v", err)
			}
		})
	}
	if err := other.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, k := range namespace.Kinds {
		set := newSet(t, []specs.LinuxNamespace{{Type: k.Type, Path: filepath.Join(dir, k.File)}})
		if k.Type != specs.PIDNamespace {
			inside(t, set, func(pid int) {
				if now := of(t, pid)[k.Type]; now != theirs[k.Type] {
					t.Errorf("%s: joined %s, kept %s", k.Type, now, theirs[k.Type])
				}
			})
			continue
		}
		// Without its process 1 a pid namespace is closed for ever.
		p := &plan.Plan{}
		set.Steps(p)
		p.Add(plan.Exit(0))
		_, err := launch.Start(p, launch.Options{})
		if !errors.Is(err, unix.ENOMEM) {
			t.Errorf("entering the pid namespace: %v", err)
		}
		testkit.Golden(t, fmt.Sprintf("%v\nhint: %s\n", err, hint.Of(err)), "no-process-1.golden")
	}
}

// Others see what is kept: nsenter(1) enters it.
func TestAKeptNetworkIsEnteredByOthers(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "nsenter")
	path, other := filepath.Join(t.TempDir(), "net"), holder(t, specs.NetworkNamespace)
	want := of(t, other.Pid)[specs.NetworkNamespace]
	kind, err := namespace.ByType(specs.NetworkNamespace)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(namespace.Keep(other.Pid, kind, path), other.Kill()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nsenter", "--net="+path, "readlink", "/proc/self/ns/net").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("nsenter: %v, %s, want %s", err, out, want)
	}
	if err := namespace.Forget(path); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeKeptOrForgotten(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := privateFolder(t)
	path := filepath.Join(dir, "kept")
	var text strings.Builder
	refused := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error")
			return
		}
		hint.Print(&text, "test", err)
	}
	mounts, err := namespace.ByType(specs.MountNamespace)
	if err != nil {
		t.Fatal(err)
	}
	refused(namespace.Keep(os.Getpid(), mounts, path)) // in itself
	refused(namespace.Keep(1<<22+1, mounts, path))     // more than the greatest pid
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failure leaves its file behind: %v", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(namespace.Keep(os.Getpid(), mounts, path))
	refused(namespace.Forget(path))
	refused(namespace.Forget(dir))
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("somebody's file: %v %q", err, text)
	}
	testkit.Golden(t, text.String(), "not-kept.golden")
}
