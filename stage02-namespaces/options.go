package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/namespace"
)

// What the flags of run, new and join mean, in the words of the OCI runtime
// specification: config-linux.md, "Namespaces", "Offset for Time Namespace".

// options are what a command line asks for.
type options struct {
	namespaces []specs.LinuxNamespace
	clocks     map[string]specs.LinuxTimeOffset
	hostname   string
	mounts     []specs.Mount
	init       bool
	plan       bool
	explain    io.Writer
}

// has tells whether a kind of namespace is among those that are asked for.
func (o options) has(t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(o.namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
}

var (
	planFlag    = &cli.BoolFlag{Name: "plan", Usage: "only print the system calls"}
	explainFlag = &cli.BoolFlag{Name: "explain", Usage: "in the end, print how long each system call took"}
	clockFlag   = &cli.StringSliceFlag{Name: "clock", Usage: "set a clock of a new time namespace ahead: `NAME=SECONDS`, monotonic or boottime"}
	joinFlag    = &cli.StringSliceFlag{Name: "join", Usage: "join a namespace instead of making one: `KIND=PID` or KIND=FILE"}
	newFlag     = &cli.StringSliceFlag{Name: "new", Usage: "make a new namespace of this `KIND` as well: user, cgroup, time"}
	nameFlag    = &cli.StringFlag{Name: "hostname", Value: "container", Usage: "the container's host name is `NAME`"}
	mountFlag   = &cli.StringSliceFlag{Name: "mount", Usage: "mount something more: `type=T,source=S,destination=D,OPTION,…`"}
	initFlag    = &cli.BoolFlag{Name: "init", Usage: "start the program as the child of a small process 1"}
)

// runFlags are the flags of a container with a root.
var runFlags = []cli.Flag{nameFlag, newFlag, joinFlag, clockFlag, mountFlag, initFlag, planFlag, explainFlag}

// readOptions reads the flags of a command, of which it may have some only.
func readOptions(c *cli.Context) (o options, err error) {
	o = options{hostname: c.String("hostname"), init: c.Bool("init"), plan: c.Bool("plan")}
	if c.Bool("explain") {
		o.explain = os.Stderr
	}
	for kind := range strings.SplitSeq(strings.Join(c.StringSlice("new"), ","), ",") {
		if kind == "" {
			continue
		}
		if err := o.add(kind, ""); err != nil {
			return o, fmt.Errorf("--new: %w", err)
		}
	}
	for _, word := range c.StringSlice("join") {
		kind, where, ok := strings.Cut(word, "=")
		if !ok || where == "" {
			return o, hint.Add(fmt.Errorf("--join %q: want KIND=PID or KIND=FILE", word), "for example: --join net=1234")
		}
		if err := o.add(kind, where); err != nil {
			return o, fmt.Errorf("--join: %w", err)
		}
	}
	for _, word := range c.StringSlice("mount") {
		m, err := parseMount(word)
		if err != nil {
			return o, err
		}
		o.mounts = append(o.mounts, m)
	}
	return o, o.setClocks(c.StringSlice("clock"))
}

// add adds a namespace: a new one, or that of the process or file called where.
func (o *options) add(kind, where string) error {
	k, err := kindOf(kind)
	if err != nil {
		return err
	}
	if pid, err := strconv.Atoi(where); err == nil {
		where = fmt.Sprintf("/proc/%d/ns/%s", pid, k.File)
	}
	o.namespaces = append(o.namespaces, specs.LinuxNamespace{Type: k.Type, Path: where})
	return nil
}

// kindOf finds a kind by either of its names: mnt or mount, net or network.
func kindOf(name string) (namespace.Kind, error) {
	for _, k := range namespace.Kinds {
		if name == k.File || name == string(k.Type) {
			return k, nil
		}
	}
	var known []string
	for _, k := range namespace.Kinds {
		known = append(known, k.File)
	}
	return namespace.Kind{}, hint.Add(fmt.Errorf("%q is no kind of namespace", name), "the kinds are "+strings.Join(known, ", "))
}

// setClocks reads "boottime=3600". A clock that is ahead needs a time namespace.
func (o *options) setClocks(words []string) error {
	o.clocks = map[string]specs.LinuxTimeOffset{}
	for _, word := range words {
		name, seconds, _ := strings.Cut(word, "=")
		n, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return hint.Add(fmt.Errorf("--clock %q: want NAME=SECONDS", word), "for example: --clock boottime=3600")
		}
		o.clocks[name] = specs.LinuxTimeOffset{Secs: n}
	}
	if len(words) > 0 && !o.has(specs.TimeNamespace) {
		o.namespaces = append(o.namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	}
	return nil
}

// parseMount reads "type=tmpfs,destination=/tmp,size=64k". What is not one of
// the three keys is an option of the mount.
func parseMount(word string) (m specs.Mount, err error) {
	for part := range strings.SplitSeq(word, ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "type":
			m.Type = value
		case "source", "src":
			m.Source = value
		case "destination", "dst", "target":
			m.Destination = value
		default:
			m.Options = append(m.Options, part)
		}
	}
	if m.Destination == "" {
		return m, hint.Add(fmt.Errorf("--mount %q: it has no destination", word), "for example: --mount type=tmpfs,destination=/tmp,size=1m")
	}
	if m.Type == "bind" {
		if m.Source == "" {
			return m, hint.Add(fmt.Errorf("--mount %q: it has no source", word), "for example: --mount type=bind,source=/srv,destination=/srv,ro")
		}
		m.Options = append(m.Options, "bind")
		m.Source, err = filepath.Abs(m.Source)
	}
	return m, err
}
