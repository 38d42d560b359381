package main_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The command line is runc's: whatever its help names, ours has. That the flags mean
// the same is told by the tests of each command.

// newerFlags are those that runc has had since the version of Debian 12: 1.2 to 1.4,
// by its manual pages.
var newerFlags = map[string][]string{
	"checkpoint": {"--link-remap", "--tcp-skip-in-flight"},
	"create":     {"--pidfd-socket"},
	"exec":       {"--pidfd-socket"},
	"run":        {"--pidfd-socket"},
	"update":     {"--cpu-burst", "--cpu-idle"},
}

// flagsIn are the flags that a help text names, each with all its names.
func flagsIn(help string) (flags []string) {
	_, options, _ := strings.Cut(help, "OPTIONS:")
	for line := range strings.Lines(options) {
		if strings.HasPrefix(strings.TrimSpace(line), "-") {
			words, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
			flags = append(flags, regexp.MustCompile(`--?[a-z][a-z0-9-]*`).FindAllString(words, -1)...)
		}
	}
	return flags
}

func TestEveryFlagOfRuncIsThere(t *testing.T) {
	b := newBundle(t)
	runc := func(args ...string) string {
		out, err := exec.Command("runc", args...).Output()
		b.must(err)
		return string(out)
	}
	global := runc("--help")
	_, list, _ := strings.Cut(global, "COMMANDS:")
	list, _, _ = strings.Cut(list, "GLOBAL OPTIONS:")
	commands := []string{""}
	for line := range strings.Lines(list) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "help," {
			commands = append(commands, name)
		}
	}
	if len(commands) < 16 {
		t.Fatalf("runc has the commands %q", commands)
	}
	for _, command := range commands {
		help := []string{command, "--help"}
		if command == "" {
			help = help[1:]
		}
		ours := flagsIn(b.succeed(help...))
		wanted := append(flagsIn(runc(help...)), newerFlags[command]...)
		for _, flag := range wanted {
			if !slices.Contains(ours, flag) {
				t.Errorf("%s has no %s", command, flag)
			}
		}
	}
}
