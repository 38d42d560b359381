package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
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

// With which status a command ends tells engines what has happened: it is runc's, also
// for words that mean nothing, in the states that a container comes through here.
func TestEachCommandEndsWithTheStatusOfRunc(t *testing.T) {
	b, both := twins(t)
	resources := filepath.Join(t.TempDir(), "resources.json")
	b.must(os.WriteFile(resources, []byte(`{"pids": {"limit": 100}}`), 0o600))
	for line := range strings.Lines(`state box; state; state a b; state nobody; list; list extra; list -f xml; list -q; list --quiet --format json
		ps box; ps; ps box -o pid; ps box -o comm; ps -f json box; ps -f xml box; events --stats box; events --stats nobody; events --interval 0s box
		kill box 0; kill box NOPE; kill box 99; kill; kill box TERM extra; kill nobody; pause; pause nobody; resume box; start box
		create --bundle BUNDLE box; create --bundle /nowhere other; create; run --bundle BUNDLE box; run --bundle; spec --bundle BUNDLE
		pause box; pause box; exec box true; state box; kill box 0; ps box; update --memory 100m box; delete box; resume box
		exec; exec box; exec nobody true; exec --cap FOO box true; exec --user a box true; exec --cwd rel box true; exec --env FOO box true
		exec --process /nowhere box; exec --preserve-fds 9 box true; exec --ignore-paused box true; exec --cgroup /nowhere box true
		update box; update; update nobody; update --memory much box; update --cpu-quota much box; update -r /nowhere box; update --resources RESOURCES box
		features; help; help state; --version; checkpoint nobody; restore --bundle BUNDLE nobody; delete; delete nobody; delete --force nobody
		kill --all box KILL; state box; kill box KILL; kill --all box KILL; events --stats box; update --memory 1g box; exec box true; pause box
		start box; delete box; delete box; state box; nonesuch; nonesuch --help; help nonesuch; help state box; state -h box; --nonesuch; state --nonesuch`) {
		for words := range strings.SplitSeq(strings.TrimSpace(line), ";") {
			args := strings.Fields(strings.NewReplacer("BUNDLE", b.dir, "RESOURCES", resources).Replace(words))
			theirs, ours := both(args...)
			if ours.status != theirs.status {
				t.Errorf("%q: status %d: %s\nrunc: status %d: %s", args, ours.status, ours.err, theirs.status, theirs.err)
			}
			if args[0] == "kill" && theirs.status == 0 && slices.Contains(args, "KILL") {
				b.eventually("it has stopped", func() bool { return b.status("box") == specs.StateStopped })
				time.Sleep(50 * time.Millisecond) // runc's as well
			}
		}
	}
}
