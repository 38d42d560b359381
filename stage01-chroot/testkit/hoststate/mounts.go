package hoststate

import (
	"fmt"
	"os"
	"strings"
)

// The mounts of this mount namespace, from /proc/self/mountinfo. See
// proc_pid_mountinfo(5) for its fields and mount_namespaces(7) for the
// propagation tags.

// mountInfo is one line of /proc/self/mountinfo, without what the kernel
// numbers anew at each mount: mount ids, parent ids and peer group ids.
type mountInfo struct {
	device      string // major:minor; the same for all mounts of one file system
	root        string // which part of the file system is mounted
	point       string // where
	options     string // of this mount: rw,nosuid,…
	propagation string // "shared", "master", "unbindable", or "" for private
	fstype      string
	source      string
	super       string // options of the whole file system
}

// mounts lists what is mounted, with all that an administrator could have set.
func mounts() ([]Thing, error) {
	infos, err := readMountInfo()
	if err != nil {
		return nil, err
	}
	var things []Thing
	for _, m := range infos {
		value := []string{m.fstype, m.source, m.root, m.options, m.super}
		if m.propagation != "" {
			value = append(value, m.propagation)
		}
		things = append(things, Thing{Kind: "mount", Name: m.point, Value: strings.Join(value, " ")})
	}
	return things, nil
}

func readMountInfo() ([]mountInfo, error) {
	const file = "/proc/self/mountinfo"
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var infos []mountInfo
	for line := range strings.Lines(string(text)) {
		m, err := parseMountInfo(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		infos = append(infos, m)
	}
	return infos, nil
}

// parseMountInfo reads one line:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// Between the options and the "-" stand any number of tags.
func parseMountInfo(line string) (mountInfo, error) {
	head, tail, found := strings.Cut(line, " - ")
	fields, rest := strings.Fields(head), strings.SplitN(strings.TrimSuffix(tail, "\n"), " ", 3)
	if !found || len(fields) < 6 || len(rest) != 3 {
		return mountInfo{}, fmt.Errorf("not a mount: %q", line)
	}
	var tags []string
	for _, tag := range fields[6:] {
		name, _, _ := strings.Cut(tag, ":") // the number names a peer group
		tags = append(tags, name)
	}
	return mountInfo{
		device:      fields[2],
		root:        unescape(fields[3]),
		point:       unescape(fields[4]),
		options:     fields[5],
		propagation: strings.Join(tags, ","),
		fstype:      rest[0],
		source:      unescape(rest[1]),
		super:       rest[2],
	}, nil
}

// octal undoes the kernel's mangle_path (fs/seq_file.c), which writes the
// characters that would break a line into fields as octal numbers.
var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#")

func unescape(s string) string { return octal.Replace(s) }
