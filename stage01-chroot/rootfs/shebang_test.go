package rootfs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// Scripts. The host's kernel and its env(1) are the judges: a script is started
// here, and in a root with what we found for it, and must say the same.

func TestAScriptBringsItsInterpreter(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "sh", "env", "bash")
	folder := t.TempDir()
	must(t, os.Symlink(look(t, "bash"), filepath.Join(folder, "only here")))
	for _, line := range []string{
		"#!/bin/sh",
		"#! \t/bin/sh -e",
		"#!/bin/sh -e \t",
		"#!FOLDER/nested",
		"#!/usr/bin/env sh",
		"#!/usr/bin/env -S sh -e",
		"#!/usr/bin/env -S GREETING=hello sh -e",
		"#!/usr/bin/env -vS sh -e",
		"#!/usr/bin/env -iSsh",
		"#!/usr/bin/env --split-string=sh -e",
		"#!/usr/bin/env -S -u HOME -C / --unset=TERM - sh",
		"#!/usr/bin/env -S 'A=b c' \"s\"h",
		`#!/usr/bin/env -S PATH=FOLDER "only here" -e`,
		`#!/usr/bin/env -S PATH=FOLDER "only\_here" -e`,
		`#!/usr/bin/env -S A=b\_sh\_-e`,
	} {
		t.Run(line, func(t *testing.T) {
			writeFile(t, filepath.Join(folder, "nested"), "#!/bin/sh\necho \"I am $0, nested\"\n", 0o755)
			script := filepath.Join(folder, "script")
			writeFile(t, script, strings.ReplaceAll(line, "FOLDER", folder)+"\necho \"I am $0\"\n", 0o755)
			want, err := exec.Command(script).Output()
			if err != nil {
				t.Fatalf("on the host it ended with %v: the test is wrong", err)
			}
			if got := runIn(t, write(t, plan(t, script)), script); !strings.HasSuffix(got, string(want)) {
				t.Errorf("it said %q, on the host %q", got, want)
			}
		})
	}
}

func TestAScriptThatDoesNotStartIsExplained(t *testing.T) {
	testkit.Need(t, "sh", "env")
	script := filepath.Join(t.TempDir(), "script")
	for line, c := range map[string]struct {
		cause error
		text  string
		hint  string
	}{
		"#!":                            {unix.ENOEXEC, "names no interpreter", ""},
		"#!/no/such":                    {fs.ErrNotExist, `interpreter of ` + script + `: lstat /no`, "install"},
		"#!bin/sh":                      {unix.ENOENT, `interpreter of ` + script + `: "bin/sh"`, "absolute path"},
		"#!/usr/bin/env sh -e":          {unix.ENOENT, `env: find program "sh -e"`, "`env -S`"},
		"#!/usr/bin/env no-such":        {exec.ErrNotFound, `"no-such"`, "PATH"},
		"#!/usr/bin/env -S PATH=/no sh": {unix.ENOENT, `env: find program "sh" in "/no"`, ""},
		"#!/usr/bin/env -S 'sh":         {nil, "a quote is not closed", ""},
	} {
		writeFile(t, script, line+"\n", 0o755)
		if err := exec.Command(script).Run(); err == nil && line != "#!" {
			t.Errorf("%s: the host starts it: the test is wrong", line)
		}
		_, err := rootfs.FromPrograms(script)
		if err == nil || !strings.Contains(err.Error(), c.text) || !strings.Contains(hint.Of(err), c.hint) {
			t.Errorf("%s: error %v, hint %q", line, err, hint.Of(err))
		}
		if c.cause != nil {
			wantError(t, err, c.cause)
		}
	}
}

func TestAScriptThatIsItsOwnInterpreterIsNotLookedIntoForever(t *testing.T) {
	folder := t.TempDir()
	must(t, os.Symlink("loop", filepath.Join(folder, "link")))
	writeFile(t, filepath.Join(folder, "loop"), "#!"+filepath.Join(folder, "link")+"\n", 0o755)
	plan(t, filepath.Join(folder, "loop"))
}
