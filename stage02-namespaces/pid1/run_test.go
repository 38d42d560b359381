package pid1_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/pid1"
)

func TestItIsCalledByItsName(t *testing.T) {
	if !pid1.Called([]string{pid1.Name, "sleep"}) || pid1.Called([]string{"/dev/init"}) || pid1.Called(nil) {
		t.Error("Called is wrong")
	}
}

func TestTheStatusIsTheProgramsOwn(t *testing.T) {
	for status := range 256 {
		if got := statusOf(t, underInit(t, "sh", "-c", fmt.Sprintf("exit %d", status))); got != status {
			t.Errorf("exit %d: status %d", status, got)
		}
	}
	for _, signal := range []int{1, 2, 9, 15} {
		if got := statusOf(t, underInit(t, "sh", "-c", fmt.Sprintf("kill -%d $$", signal))); got != 128+signal {
			t.Errorf("signal %d: status %d", signal, got)
		}
	}
}

func TestAProgramThatDoesNotStartIsAnError(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o644), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("plain", "echo\n", 0o644)
	var text strings.Builder
	for _, words := range [][]string{
		{},
		{"nothing"},
		{"./nothing"},
		{write("plain", "echo\n", 0o644) + "/x"},
		{"plain"},
		{dir},
		{write("noise", "noise\n", 0o755)},
		{write("script", "#!/no/such/interpreter\n", 0o755)},
	} {
		var stderr strings.Builder
		cmd := underInit(t, words...)
		cmd.Env, cmd.Stderr = []string{"PATH=/nonexistent:" + dir}, &stderr
		fmt.Fprintf(&text, "status %d\n", statusOf(t, cmd))
		text.WriteString(stderr.String())
	}
	testkit.Golden(t, strings.ReplaceAll(text.String(), dir, "DIR"), "errors.golden")
}

func TestTheProgramIsLookedForAlongThePATH(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for path, mode := range map[string]os.FileMode{first + "/tool": 0o644, second + "/tool": 0o755} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho $0 $1\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := underInit(t, "tool", "word")
	cmd.Env = []string{"PATH=" + first + ":" + second}
	if got, want := output(t, cmd), second+"/tool word\n"; got != want {
		t.Errorf("ran %q, want %q", got, want)
	}
}

// So that Ctrl-C at a terminal that it is not in the foreground of comes once,
// from the init.
func TestTheProgramHasAProcessGroupOfItsOwn(t *testing.T) {
	cmd := underInit(t, "sh", "-c", "read pid _ _ _ group _ < /proc/$$/stat; echo $((pid == group))")
	if got := output(t, cmd); got != "1\n" {
		t.Errorf("%q", got)
	}
}

func TestTheEnvironmentIsAsItWas(t *testing.T) {
	cmd := underInit(t, "/usr/bin/env")
	cmd.Env = []string{"A=1", "B=two words", "PATH=/bin"}
	if got := output(t, cmd); got != "A=1\nB=two words\nPATH=/bin\n" {
		t.Errorf("%q", got)
	}
}

// CVE-2024-21626: a descriptor that slips into a container leads out of it.
func TestDescriptorsAreNotPassedOn(t *testing.T) {
	cmd := underInit(t, "sh", "-c", "ls /proc/$$/fd")
	host, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	cmd.ExtraFiles = []*os.File{host, host, host}
	if got := output(t, cmd); got != "0\n1\n2\n" {
		t.Errorf("descriptors %q", strings.Fields(got))
	}
}

// Go raises the soft limit for itself.
func TestTheLimitOfOpenFilesIsAsItWas(t *testing.T) {
	cmd := exec.Command("sh", "-c", `ulimit -Sn 123; exec "$1" sh -c 'ulimit -Sn'`, "sh", initProgram(t))
	if got := output(t, cmd); got != "123\n" {
		t.Errorf("limit %q", got)
	}
}

// statusOf runs cmd and returns its exit status.
func statusOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}
