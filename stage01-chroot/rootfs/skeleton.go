package rootfs

import (
	"fmt"
	"io/fs"
	"os"
)

// What every root file system has, whatever runs in it: hier(7), and the
// accounts that programs look up by name, passwd(5) and group(5).

// skeleton are the directories that are mounted over, or written to, and the
// files that a C library looks for.
var skeleton = []File{
	{Name: "dev", Mode: fs.ModeDir | 0o755, Why: "devices are mounted here"},
	{Name: "etc", Mode: fs.ModeDir | 0o755, Why: "configuration"},
	{Name: "etc/group", Mode: 0o644, Data: []byte("root:x:0:\nnogroup:x:65534:\n"), Why: "names of groups"},
	{Name: "etc/hosts", Mode: 0o644, Data: []byte("127.0.0.1 localhost\n::1 localhost\n"), Why: "names of hosts"},
	{Name: "etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0:root:/root:/bin/sh\n" +
		"nobody:x:65534:65534:nobody:/:/bin/false\n"), Why: "names of users"},
	{Name: "proc", Mode: fs.ModeDir | 0o755, Why: "processes are mounted here"},
	{Name: "root", Mode: fs.ModeDir | 0o700, Why: "home of root"},
	{Name: "run", Mode: fs.ModeDir | 0o755, Why: "state of running programs"},
	{Name: "sys", Mode: fs.ModeDir | 0o755, Why: "the kernel's objects are mounted here"},
	{Name: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777, Why: "temporary files of everyone"},
}

// mergedDirectories are links into /usr on most of today's hosts. A program
// found as /usr/bin/sh is expected as /bin/sh too, so the new root has the
// links that the host has.
var mergedDirectories = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

func (c *Closure) addSkeleton() error {
	for _, file := range skeleton {
		c.Add(file)
	}
	for _, dir := range mergedDirectories {
		if info, err := os.Lstat(dir); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			continue // the host does not have it, or it is no link there
		}
		if _, err := c.addPath(dir, "as on the host"); err != nil {
			return fmt.Errorf("add %q: %w", dir, err)
		}
	}
	return nil
}
