package main_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
)

// programs puts final and skiff beside each other, as make does.
func programs(t *testing.T) (final string) {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range []string{"skiff.example/final", "skiff.example/final/cmd/skiff"} {
		built := testkit.Build(t, pkg)
		if err := os.Link(built, filepath.Join(dir, filepath.Base(built))); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "final")
}

func TestDemo(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "sh", "bash", "ip", "ping", "hostname")
	var warnings strings.Builder
	cmd := exec.Command(programs(t), "demo")
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, warnings.String())
	}
	if warnings.Len() > 0 {
		t.Errorf("it warns: %s", warnings.String())
	}
	text := testkit.Normalize(string(out))
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.with)
	}
	testkit.Golden(t, text, "demo.golden")
}

// varying is what the transcript has from this very machine: how large its
// programs are, what it is called, how much goes on in it, where its cgroups
// are. The width of a column follows.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`[\d.]+ (B|KiB|MiB)\b`), "SIZE"},
	{regexp.MustCompile(`sha256:[0-9a-f]+`), "sha256:…"},
	{regexp.MustCompile(`(\S) {2,}`), "$1  "},
	{regexp.MustCompile(` +INSIDE`), "  INSIDE"},
	{regexp.MustCompile(`(?m)^(  hostname  demo  ).*`), "${1}NAME"},
	{regexp.MustCompile(`(?m)^(  pid  1  ).*`), "${1}PID"},
	{regexp.MustCompile(`(?m)^(  (processes|mounts)  ).*`), "${1}N  N"},
	{regexp.MustCompile(`(?m)^(  (root|cpu|cgroup)  ).*`), "${1}…"},
	{regexp.MustCompile(`in use \d+`), "in use N"},
}

// Ctrl-C at any point: the demonstration ends soon, and all that it has made
// is gone. A terminal sends the signal to all its processes.
func TestCtrlCInTheMiddleOfTheDemo(t *testing.T) {
	testkit.Need(t, "sh", "bash", "ip", "ping", "hostname")
	for _, moment := range []string{"== 1.", "== 2.", "$ skiff run", "pid namespace"} {
		t.Run(moment, func(t *testing.T) {
			testkit.HostUnchangedAsInit(t)
			temp := t.TempDir()
			cmd := exec.Command(programs(t), "demo")
			cmd.Env = append(os.Environ(), "TMPDIR="+temp)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			late := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
			defer late.Stop()
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if strings.Contains(lines.Text(), moment) {
					_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
				}
			}
			_ = cmd.Wait() // the status says it
			if status := cmd.ProcessState.ExitCode(); moment != "pid namespace" && status != 1 {
				t.Errorf("status %d, want 1", status)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left in the folder for temporary files: %v, %v", left, err)
			}
		})
	}
}
