package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/commandline"
	"skiff.example/final/container"
	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
)

// exec: a further process in a container. What its flags do not say is as in the
// container's own process.

// An execFailure is why exec did not get as far as its program.
type execFailure struct{ error }

func (e execFailure) Unwrap() error { return e.error }

func execCommand() commandline.Command {
	return commandline.Command{
		Usage: "run a further program in a container", Arguments: "ID PROGRAM [ARGUMENT…]",
		Flags: slices.Concat(processFlags, []commandline.Flag{
			{Kind: commandline.String, Name: "cwd", Usage: "the program's directory"},
			{Kind: commandline.Strings, Name: "env", Short: "e", Usage: "NAME=VALUE, as often as wanted"},
			{Name: "tty", Short: "t", Usage: "give the program a terminal"},
			{Kind: commandline.String, Name: "user", Short: "u", Usage: "UID[:GID]"},
			{Kind: commandline.Ints, Name: "additional-gids", Short: "g", Usage: "further groups"},
			{Kind: commandline.String, Name: "process", Short: "p", Usage: "file with the process, as in config.json"},
			{Name: "detach", Short: "d", Usage: "do not wait for its end"},
			{Kind: commandline.String, Name: "process-label", Usage: "SELinux label"},
			{Kind: commandline.String, Name: "apparmor", Usage: "AppArmor profile"},
			{Name: "no-new-privs", Usage: "set no_new_privs"},
			{Kind: commandline.Strings, Name: "cap", Short: "c", Usage: "a capability more, as often as wanted"},
			{Kind: commandline.Strings, Name: "cgroup", Usage: "[CONTROLLER[,CONTROLLER…]:]GROUP below the container's, which must exist"},
			{Name: "ignore-paused", Usage: "in a paused container, wait until it is resumed"},
		}),
		Action: func(c *commandline.Context) error {
			if len(c.Args) == 0 {
				return hint.Add(errors.New("exec: got no arguments, want the id of a container and a program"), "skiff-oci exec --help")
			}
			status, err := execute(c)
			if err != nil {
				return execFailure{fmt.Errorf("exec: %w", err)}
			}
			return exitStatusOrNil(status)
		},
	}
}

// execute runs the program.
func execute(c *commandline.Context) (status int, err error) {
	args := c.Args
	if len(args) == 1 && c.String("process") == "" {
		return 0, hint.Add(errors.New("no program is named"), "give it after the container's id, or a file with --process")
	}
	options, err := optionsOf(c)
	if err != nil {
		return 0, err
	}
	groups, err := groupsOf(c)
	if err != nil {
		return 0, err
	}
	config := container.ExecConfig{
		Edit:    func(p *specs.Process) error { return editProcess(c, p, args[1:]) },
		Options: options, Detach: c.Bool("detach"), Groups: groups, IgnorePaused: c.Bool("ignore-paused"),
	}
	return runtimeOf(c).Exec(args[0], config)
}

// groupsOf reads --cgroup.
func groupsOf(c *commandline.Context) (map[string]string, error) {
	groups := map[string]string{}
	for _, text := range c.Strings("cgroup") {
		controllers, group, found := strings.Cut(text, ":")
		if !found {
			controllers, group = "", text
		}
		for controller := range strings.SplitSeq(controllers, ",") {
			if _, twice := groups[controller]; twice || group == "" {
				return nil, fmt.Errorf("--cgroup %q: want [CONTROLLER[,CONTROLLER…]:]GROUP, and each controller once", text)
			}
			groups[controller] = group
		}
	}
	return groups, nil
}

// editProcess makes the process to run from the container's own.
func editProcess(c *commandline.Context, p *specs.Process, args []string) error {
	if file := c.String("process"); file != "" {
		loaded, err := oci.LoadProcess(file)
		if err != nil {
			return err
		}
		inherit(loaded, p)
		*p = *loaded
		return nil
	}
	p.Args, p.Terminal, p.ConsoleSize = args, c.Bool("tty"), nil
	for flag, field := range map[string]*string{"cwd": &p.Cwd, "process-label": &p.SelinuxLabel, "apparmor": &p.ApparmorProfile} {
		if c.IsSet(flag) {
			*field = c.String(flag)
		}
	}
	for _, e := range c.Strings("env") {
		if !strings.Contains(e, "=") { // nothing comes from the caller's environment (CVE-2026-57231)
			return fmt.Errorf("--env %q: want NAME=VALUE", e)
		}
		p.Env = append(p.Env[:len(p.Env):len(p.Env)], e)
	}
	if c.IsSet("no-new-privs") {
		p.NoNewPrivileges = c.Bool("no-new-privs")
	}
	addCapabilities(p, c.Strings("cap"))
	return editUser(c, &p.User)
}

// inherit gives a process what its own configuration does not say and the container's
// does, as in runc: none is confined less because something was left out.
func inherit(p, from *specs.Process) {
	if p.Capabilities == nil {
		p.Capabilities = from.Capabilities
	}
	if p.ApparmorProfile == "" {
		p.ApparmorProfile = from.ApparmorProfile
	}
	if p.SelinuxLabel == "" {
		p.SelinuxLabel = from.SelinuxLabel
	}
	if len(p.Rlimits) == 0 {
		p.Rlimits = from.Rlimits
	}
	if p.OOMScoreAdj == nil {
		p.OOMScoreAdj = from.OOMScoreAdj
	}
}

// addCapabilities gives the process more of them than the container's has. They
// are not inheritable: what the program runs has them only by its own rights
// (CVE-2022-24769).
func addCapabilities(p *specs.Process, names []string) {
	if len(names) == 0 {
		return
	}
	sets := specs.LinuxCapabilities{}
	if p.Capabilities != nil {
		sets = *p.Capabilities
	}
	for _, set := range []*[]string{&sets.Bounding, &sets.Effective, &sets.Permitted} {
		*set = append((*set)[:len(*set):len(*set)], names...)
	}
	p.Capabilities = &sets
}

// editUser reads --user and --additional-gids. Both are numbers, and stay what
// they are: a number that is no id is never looked up as a name.
func editUser(c *commandline.Context, u *specs.User) error {
	if text := c.String("user"); c.IsSet("user") {
		uid, gid, both := strings.Cut(text, ":")
		err := parseID(uid, &u.UID)
		if err == nil && both {
			err = parseID(gid, &u.GID)
		}
		if err != nil {
			return hint.Add(fmt.Errorf("--user %q: %w", text, err), "want UID or UID:GID: a name's numbers are in the container's /etc/passwd")
		}
	}
	for _, gid := range c.Ints("additional-gids") {
		var id uint32
		if err := parseID(strconv.FormatInt(gid, 10), &id); err != nil {
			return fmt.Errorf("--additional-gids: %w", err)
		}
		u.AdditionalGids = append(u.AdditionalGids[:len(u.AdditionalGids):len(u.AdditionalGids)], id)
	}
	return nil
}

// parseID reads the id of a user or group.
func parseID(text string, id *uint32) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("%q is not a number from 0 to 2147483647", text)
	}
	*id = uint32(n)
	return nil
}
