package image

// What an image says about its process: image-spec config.md, "config", and
// docker's Healthcheck, which is not in the specification and in many images.
// All of it is a stranger's text. What is not understood is an error and never a
// guess; and what is meant for people, Labels, decides nothing here or elsewhere:
// a label once became a command that root ran (CVE-2026-53488).

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Command is what runs: the image's Entrypoint, and then args or, without any,
// its Cmd. An entrypoint of the caller's, if not nil, replaces the image's; its
// Cmd, which was meant as the arguments of that, then goes as well.
func Command(config ocispec.ImageConfig, entrypoint, args []string) ([]string, error) {
	if entrypoint == nil {
		entrypoint = config.Entrypoint
		if len(args) == 0 {
			args = config.Cmd
		}
	}
	argv := slices.Concat(entrypoint, args)
	if len(argv) == 0 {
		return nil, hint.Add(errors.New("it names no command"), "say which command to run, after the name of the image")
	}
	return argv, nil
}

// Environment joins lists of NAME=value; later ones win. A name without a
// value is an error: taken from the host's environment, as others do, it
// would let an image read that (CVE-2026-57231).
func Environment(lists ...[]string) ([]string, error) {
	var all []string
	for _, e := range slices.Concat(lists...) {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.Contains(e, "\x00") {
			return nil, fmt.Errorf("environment %q: want NAME=value", e)
		}
		all = slices.DeleteFunc(all, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		all = append(all, e)
	}
	return all, nil
}

// Volumes returns the paths that hold data and not program, sorted. A path that
// is not absolute, or is the root itself, is an error.
func Volumes(config ocispec.ImageConfig) ([]string, error) {
	var volumes []string
	for v := range config.Volumes {
		clean := path.Clean(v)
		if !path.IsAbs(v) || clean == "/" {
			return nil, fmt.Errorf("volume %q: want an absolute path", v)
		}
		volumes = append(volumes, clean)
	}
	slices.Sort(volumes)
	return slices.Compact(volumes), nil
}

// StopSignal is the signal by which the image wants to be told to end: a name or
// a number of signal(7), by default SIGTERM.
func StopSignal(config ocispec.ImageConfig) (syscall.Signal, error) {
	text := config.StopSignal
	if text == "" {
		return unix.SIGTERM, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG")
	// The real-time signals begin at 34 for the C library, signal(7), and are
	// named from there: SIGRTMIN+3 ends systemd.
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "SIGRTMIN+")); err == nil && n >= 0 && n <= 30 {
		return syscall.Signal(34 + n), nil
	}
	if s := unix.SignalNum(name); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("stop signal %q: no such signal", text)
}

// Healthcheck says how to find out whether the process does what it is there
// for. Durations of 0 and 0 retries mean what is usual.
type Healthcheck struct {
	// Test is {"NONE"}, {"CMD", program, argument …} or {"CMD-SHELL", line}.
	Test          []string      `json:",omitempty"`
	Interval      time.Duration `json:",omitempty"` // between two checks, in nanoseconds as all of these
	Timeout       time.Duration `json:",omitempty"`
	StartPeriod   time.Duration `json:",omitempty"` // in which failures do not count
	StartInterval time.Duration `json:",omitempty"` // between two checks, in that time
	Retries       int           `json:",omitempty"` // failures in a row that make it unhealthy
}

// ParseHealthcheck returns the Healthcheck of a configuration (the whole JSON of
// it), or nil when it has none or asks for none.
func ParseHealthcheck(raw []byte) (*Healthcheck, error) {
	var doc struct {
		Config struct{ Healthcheck *Healthcheck }
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("parse configuration: %w", err)
	}
	h := doc.Config.Healthcheck
	if h == nil || len(h.Test) == 0 {
		return nil, nil
	}
	for _, d := range []time.Duration{h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, time.Duration(h.Retries)} {
		if d < 0 {
			return nil, errors.New("healthcheck: a time or number is negative")
		}
	}
	switch kind, n := h.Test[0], len(h.Test); {
	case kind == "NONE" && n == 1:
		return nil, nil
	case kind == "CMD" && n > 1, kind == "CMD-SHELL" && n == 2:
		return h, nil
	}
	return nil, fmt.Errorf("healthcheck %q: want NONE, CMD and a program, or CMD-SHELL and a line", h.Test)
}
