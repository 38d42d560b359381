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
// is a usual cause a hint.

func TestEveryMistakeIsNamed(t *testing.T) {
	testkit.HostUnchanged(t)
	root := probeRoot(t)
	linked := probeRoot(t)
	if err := os.Symlink("/", filepath.Join(linked, "proc")); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, args := range [][]string{
		{"run", root + "/missing", "/bin/sh"},
		{"run", root, "ls"},
		{"run", root, "/bin/ls"},
		{"run", "--hostname", strings.Repeat("a", 65), root, "/probe"},
		{"run", linked, "/probe"}, // CVE-2019-16884
		{"look", "nobody"},
		{"look", "0"},
		{"run", root},
	} {
		all.WriteString(mistake(t, stage02(t, args...)))
	}
	testkit.Golden(t, all.String(), "errors.golden")
}

func TestNewNamespacesNeedRoot(t *testing.T) {
	cmd := stage02(t, "run", "/", "/bin/sh")
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	testkit.Golden(t, mistake(t, cmd), "unprivileged.golden")
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
	return fmt.Sprintf("$ stage02 %s\n%s", strings.Join(cmd.Args[1:], " "), &errs)
}
