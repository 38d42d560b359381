package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// usual is the kernel of make test-v2.
func usual(t *testing.T) *Kernel {
	t.Helper()
	testkit.Need(t, "apt-get", "apt-cache", "dpkg-deb")
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	k, err := FindKernel(t.Context(), filepath.Join(dir, "skiff", "vm"), Modules)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAModuleLoadsAfterThoseThatItNeeds(t *testing.T) {
	k := usual(t)
	for i, name := range k.Modules {
		needs, err := modinfo(k.module(name), "depends")
		if err != nil {
			t.Fatal(err)
		}
		for need := range strings.SplitSeq(needs, ",") {
			before := slices.ContainsFunc(k.Modules[:i], func(file string) bool { return moduleName(file) == moduleName(need) })
			if need != "" && !before {
				t.Errorf("%s needs %s, which comes later or not at all", name, need)
			}
		}
	}
}

// A copy of the cache, damaged in each way: it is not taken for a kernel.
func TestADamagedCacheIsNotUsed(t *testing.T) {
	good := usual(t)
	for what, damage := range map[string]func(dir string) error{
		"a module that is cut short": func(dir string) error { return os.Truncate(filepath.Join(dir, good.Modules[0]), 100) },
		"an image that is gone":      func(dir string) error { return os.Remove(filepath.Join(dir, imageFile)) },
		"a manifest that is gone":    func(dir string) error { return os.Remove(filepath.Join(dir, manifestFile)) },
		"half a manifest":            func(dir string) error { return os.Truncate(filepath.Join(dir, manifestFile), 50) },
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(good.dir)); err != nil {
			t.Fatal(err)
		}
		if _, err := load(dir, Modules); err != nil {
			t.Errorf("the copy: %v", err)
		}
		if err := damage(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := load(dir, Modules); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := load(good.dir, []string{"overlay"}); err == nil {
		t.Error("a kernel for other modules: no error")
	}
}
