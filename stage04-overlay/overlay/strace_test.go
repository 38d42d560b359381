package overlay_test

import (
	"errors"
	"os"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/launch/launchtest"
	"skiff.example/stage04-overlay/overlay"
)

// What is printed is what happens, for each way in which layers come to a container:
// strace(1) sees the calls of the plan, in order, and no others.
func TestWhatHappensIsThePrintedPlan(t *testing.T) {
	if dir := os.Getenv("STACK_DIR"); dir != "" {
		c, done := variant(t, os.Getenv("VARIANT"), dir)
		status, err := c.Run(t.Context())
		if err := errors.Join(err, container.Failed(status), done()); err != nil {
			t.Fatal(err)
		}
		return
	}
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace", "busybox")
	for _, name := range []string{"layers", "one page", "mapped"} {
		dir := t.TempDir()
		shell(t, dir, "chmod 755 .. .; mkdir base app root; cp $(command -v busybox) base; echo hi > app/hi")
		t.Setenv("STACK_DIR", dir)
		t.Setenv("VARIANT", name)
		c, done := variant(t, name, dir)
		p, err := c.Plan()
		if err := errors.Join(err, done()); err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		traces := launchtest.Strace(t, "", os.Args[0], "-test.run=^"+t.Name()+"$")
		launchtest.Compare(t, p, launchtest.Container(t, traces))
	}
}

// variant is a container on two layers, which exits at once.
func variant(t *testing.T, name, dir string) (c *container.Container, done func() error) {
	t.Helper()
	stack, err := overlay.Prepare(dir+"/writable", []string{dir + "/app", dir + "/base"})
	if err != nil {
		t.Fatal(err)
	}
	var more []specs.LinuxNamespace
	if name == "mapped" {
		more = append(more, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	set, err := container.Own(more...)
	if err != nil {
		t.Fatal(err)
	}
	c = &container.Container{
		Namespaces: set, Root: dir + "/root", Hostname: "box", Path: "/busybox",
		Argv: []string{"busybox", "cat", "/hi"}, Env: container.Environment(),
		Layers: func(p *plan.Plan) error { return stack.Steps(p, dir+"/root") },
	}
	done = set.Close
	switch name {
	case "one page":
		stack.OnePage = true
	case "mapped":
		ids := []specs.LinuxIDMapping{{HostID: 100_000, Size: 1000}}
		layers, err := stack.IDMapped(ids, ids)
		if err != nil {
			t.Fatal(err)
		}
		c.Maps.UIDs, c.Maps.GIDs = ids, ids
		c.Layers = func(p *plan.Plan) error { overlay.Attach(p, layers, dir+"/root"); return nil }
		done = func() error { return errors.Join(layers.Close(), set.Close()) }
	}
	return c, done
}
