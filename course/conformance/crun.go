package conformance

// This file makes other runtimes comparable. The suite writes configurations
// of version 1.3.0 of the specification; crun 1.8, which is older, refuses a
// version that it does not know, although it understands what is in them.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// older is a shell script in place of a runtime: it gives the bundle that is
// about to be created an older version, and nothing else.
const older = `#!/bin/sh
if [ "$1" = create ] && [ "$2" = --bundle ] && [ -e "$3/config.json" ]; then
	sed -i 's/"ociVersion": *"1\.[0-9.]*"/"ociVersion":"1.0.2"/' "$3/config.json"
fi
exec '%s' "$@"
`

// WithOlderVersion writes into dir a program that is the runtime at that path
// but for the version of the configuration, and returns its path.
func WithOlderVersion(runtime, dir string) (string, error) {
	path := filepath.Join(dir, filepath.Base(runtime))
	script := fmt.Sprintf(older, strings.ReplaceAll(runtime, `'`, `'\''`))
	return path, os.WriteFile(path, []byte(script), 0o755)
}
