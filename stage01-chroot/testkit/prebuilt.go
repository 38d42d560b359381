package testkit

// Programs that were built before the test began. A test that runs in a
// virtual machine (skiff.example/course/vm) has no Go tool there; what it
// would build lies in a tree of folders, each with the name of a package and
// in it the program, as `go build` names it:
//
//	$SKIFF_PREBUILT/skiff.example/stage01-chroot/testkit/probe/probe
//
// The test's own folder is in the same tree, so ./testdata/x is found as well.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// prebuiltTree is the environment's name of the tree.
const prebuiltTree = "SKIFF_PREBUILT"

// copyPrebuilt copies a package's program into dir, where a built one would be.
func copyPrebuilt(tree, pkg, dir string) error {
	folder := filepath.Join(tree, pkg)
	if pkg == "." || strings.HasPrefix(pkg, "./") || strings.HasPrefix(pkg, "../") {
		var err error
		if folder, err = filepath.Abs(pkg); err != nil {
			return err
		}
	}
	name := filepath.Base(folder)
	program, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return fmt.Errorf("%s was not built beforehand: %w", pkg, err)
	}
	return os.WriteFile(filepath.Join(dir, name), program, 0o755)
}
