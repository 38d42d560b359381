package doctor

// This file says what a check may know of the machine: its files below /proc
// and /sys, and the facts that no file holds. Nothing else is looked at, so a
// folder with the same files and facts is as good as the machine, and shows
// what doctor says on one that nobody has at hand.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage06-network/network"
)

// Host is the machine that is examined.
type Host struct {
	Files fs.FS // its root directory, of which proc and sys are read
	Facts
}

// Facts is what no file tells.
type Facts struct {
	Arch     string            // as Go names it: amd64, arm64
	UID      int               // the effective user
	Go       string            // the version of the go in PATH, as "go1.26.0"; empty without one
	StateDir string            // the state folder, where images and containers are kept
	Free     uint64            // bytes that this user may still write on the state folder's file system
	Writable []string          // the folders below /sys/fs/cgroup in which this user may make groups
	Forward  string            // what network.ForwardBlocked says
	Trials   map[string]string // what came of each trial: "ok", or the error
}

// This returns the machine that we run on, after the trials. state is the
// state folder, which need not exist. again are the arguments with which this
// program calls Try, when it is started again with the name of a trial added
// to them.
func This(state string, again ...string) (Host, error) {
	h := Host{Files: os.DirFS("/"), Facts: Facts{
		Arch: runtime.GOARCH, UID: os.Geteuid(), Go: goVersion(), StateDir: state,
	}}
	var disk unix.Statfs_t
	place := existing(state)
	if err := unix.Statfs(place, &disk); err != nil {
		return h, fmt.Errorf("look at the file system of %q: %w", place, err)
	}
	h.Free = disk.Bavail * uint64(disk.Bsize)

	for _, dir := range h.cgroupFolders() {
		if unix.Faccessat(unix.AT_FDCWD, "/"+dir, unix.W_OK, unix.AT_EACCESS) == nil {
			h.Writable = append(h.Writable, dir)
		}
	}
	if h.root() {
		blocked, err := network.ForwardBlocked()
		if err != nil {
			blocked = err.Error()
		}
		h.Forward = blocked
	}
	var err error
	h.Trials, err = runTrials(place, again)
	return h, err
}

func (h Host) root() bool { return h.UID == 0 }

// read returns a file's text without the white space around it; empty when it
// cannot be read, which for /proc and /sys most often means that the kernel
// lacks what the file is about.
func (h Host) read(name string) string {
	data, err := fs.ReadFile(h.Files, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// has tells whether a file is there.
func (h Host) has(name string) bool {
	_, err := fs.Stat(h.Files, name)
	return err == nil
}

// existing returns dir, or the nearest folder above it that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" || dir == "." {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// goVersion asks the go in PATH for its own version: GOTOOLCHAIN=local keeps
// it from fetching the one that a go.mod asks for.
func goVersion() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return ""
	}
	if err != nil {
		return "go that fails: " + err.Error()
	}
	return strings.TrimSpace(string(out))
}
