// Putting back. An update of several limits is several writes, and the kernel
// can refuse the last of them. Whoever asked is told that it failed, so nothing
// of it should stay: what the files said before is remembered, and written again.

package cgroup

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// former is what one file said before an update.
type former struct{ file, text string }

// update is what is to be written, a list for each controller, and what the files
// of each said before.
type update struct {
	dirs     []string
	settings [][]setting
	before   [][]former
}

// add plans settings. A file that is not there, or cannot be read, is not put back.
func (u *update) add(dir string, settings []setting) {
	var before []former
	for _, s := range settings {
		if slices.ContainsFunc(before, func(f former) bool { return f.file == s.file }) {
			continue
		}
		if text, err := setTo(dir, s.file); err == nil {
			before = append(before, former{s.file, text})
		}
	}
	u.dirs, u.settings, u.before = append(u.dirs, dir), append(u.settings, settings), append(u.before, before)
}

// run writes all, or as good as nothing.
func (u *update) run() error {
	for i, dir := range u.dirs {
		if err := writeEither(dir, u.settings[i]); err != nil {
			return errors.Join(err, u.putBack())
		}
	}
	return nil
}

// setTo reads what a file was set to. That of the OOM killer also says how it is.
func setTo(dir, file string) (string, error) {
	text, err := read(dir, file)
	if file == "memory.oom_control" {
		text = strconv.FormatUint(numbers(text)["oom_kill_disable"], 10)
	}
	return text, err
}

// putBack writes what the files said; those of a controller may bound each other.
func (u *update) putBack() error {
	var failed []error
	for i, dir := range u.dirs {
		var settings []setting
		for _, f := range u.before[i] {
			if now, err := setTo(dir, f.file); err == nil && now != f.text {
				settings = append(settings, f.settings(now)...)
			}
		}
		failed = append(failed, writeEither(dir, settings))
	}
	return errors.Join(failed...)
}

// settings are what brings a file that says now back to what it said: itself, or
// where it has a line for each device, the lines that are different.
func (f former) settings(now string) []setting {
	none, byDevice := withoutLimit(f.file)
	if !byDevice {
		return []setting{to(f.file, cmp.Or(f.text, nothing))} // that it had none is a value as well
	}
	old, lines := strings.Split(f.text, "\n"), strings.Split(now, "\n")
	var settings []setting
	for _, line := range old {
		if line != "" && !slices.Contains(lines, line) {
			settings = append(settings, to(f.file, strings.TrimPrefix(line, "default ")))
		}
	}
	for _, line := range lines {
		device, _, _ := strings.Cut(line, " ")
		had := func(line string) bool { return strings.HasPrefix(line, device+" ") }
		if none != "" && device != "" && !slices.ContainsFunc(old, had) {
			settings = append(settings, to(f.file, device+" "+none))
		}
	}
	return settings
}

// withoutLimit tells whether a file has a line for each device, and how it is
// told that one has no limit any more; "" if all devices always have a line.
func withoutLimit(file string) (words string, byDevice bool) {
	switch {
	case file == "io.max":
		return "rbps=max wbps=max riops=max wiops=max", true
	case file == "io.latency":
		return "target=0", true
	case file == "io.weight", file == "io.bfq.weight":
		return "default", true
	case strings.HasPrefix(file, "blkio.") && strings.HasSuffix(file, "_device"):
		return "0", true
	}
	return "", slices.Contains([]string{"rdma.max", "misc.max", "net_prio.ifpriomap"}, file)
}
