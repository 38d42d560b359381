package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// Every mistake has an error of one line that names the thing, and where there
// is a usual cause a hint. Only the last one is the kernel's: the others are
// seen before anything is done, so they need no root.

func TestEveryMistakeIsNamed(t *testing.T) {
	root := mistakes(t)
	var all strings.Builder
	for _, args := range [][]string{
		{"run", root + "/missing", "/bin/sh"},
		{"run", root + "/notes", "/bin/sh"},
		{"run", root, "ls"},
		{"run", root, "/bin/ls"},
		{"run", root, "/script"},
		{"run", root, "/notes"},
		{"run", root, "/text"},
		{"plan", root, "ls"},
		{"root", filepath.Join(root, "new"), "no-such-program"},
		{"run", root},
	} {
		all.WriteString(mistake(t, stage01(t, args...)))
	}
	testkit.Golden(t, all.String(), "errors.golden")
}

// mistakes is a root file system in which nothing can be run.
func mistakes(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"script": {"#!/bin/interpreter\n", 0o755},
		"notes":  {"#!/bin/sh\n", 0o644},
		"text":   {"hello\n", 0o755},
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// mistake runs cmd, which must fail with status 1, and returns the command
// line and what it said.
func mistake(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if status := cmd.ProcessState.ExitCode(); status != 1 || out.Len() > 0 {
		t.Errorf("%q: %v, status %d, output %q; want status 1 and no output", cmd.Args[1:], err, status, &out)
	}
	return fmt.Sprintf("$ stage01 %s\n%s", strings.Join(cmd.Args[1:], " "), &errs)
}

func TestChangingTheRootNeedsRoot(t *testing.T) {
	cmd := stage01(t, "run", "/", "/bin/sh")
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	testkit.Golden(t, mistake(t, cmd), "unprivileged.golden")
}
