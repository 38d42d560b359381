package launch_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// BenchmarkLaunch measures from Start until the child has been waited for:
// of a child that only exits, in no and in all namespaces, and of a whole
// container with its program (a Go program: about a millisecond of it).
func BenchmarkLaunch(b *testing.B) {
	b.Run("namespaces=none", func(b *testing.B) {
		p := exits(0)
		for b.Loop() {
			launchAndWait(b, p, 0)
		}
	})
	b.Run("namespaces=all", func(b *testing.B) {
		testkit.Root(b)
		p := exits(0)
		for b.Loop() {
			launchAndWait(b, p, fullNamespaces|unix.CLONE_NEWUSER|unix.CLONE_NEWCGROUP)
		}
	})
	b.Run("container", func(b *testing.B) {
		testkit.Root(b)
		gate, null := newGate(b), openNull(b)
		p := fullPlan(b, fullRoot(b), gate, null, "umask")
		for b.Loop() {
			if err := gate.Open(); err != nil {
				b.Fatal(err)
			}
			launchAndWait(b, p, fullNamespaces)
		}
	})
}

func launchAndWait(b *testing.B, p *plan.Plan, namespaces uintptr) {
	process, err := launch.Start(p, launch.Options{Namespaces: namespaces})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := process.Wait(); err != nil {
		b.Fatal(err)
	}
	if err := process.Close(); err != nil {
		b.Fatal(err)
	}
}
