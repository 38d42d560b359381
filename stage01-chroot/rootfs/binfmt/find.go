package binfmt

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/lookup"
)

// Where a program is in a root file system: execvp(3).

// Find returns the path of a command in the root dir: a command without a
// slash is looked up in DefaultPath, as execvp(3) does with PATH; the host's
// own PATH would find the host's programs. One with a slash is a path already,
// and is not looked at, nor is dir.
//
// Whether the command would start is for Check to say.
func Find(dir, command string) (string, error) {
	if strings.Contains(command, "/") {
		return command, nil
	}
	root, err := openRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	for folder := range strings.SplitSeq(DefaultPath, ":") {
		name := path.Join(folder, command)
		file, err := lookup.Open(root, name, unix.O_PATH)
		if err == nil {
			return name, file.Close()
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return "", err
		}
	}
	return "", Check(dir, command)
}
