package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
		{"look", "4194305"}, // above the greatest pid that can be
		{"run", root},
		{"run", "--new", "tty", root, "/probe"},
		{"run", "--new", "user,user", root, "/probe"},
		{"run", "--join", "net", root, "/probe"},
		{"run", "--join", "net=/no/such/file", root, "/probe"},
		{"run", "--join", "net=/dev/null", root, "/probe"},
		{"run", "--join", "net=/proc/self/ns/uts", root, "/probe"},
		{"run", "--join", "net=4194305", root, "/probe"},
		{"run", "--clock", "boottime", root, "/probe"},
		{"run", "--clock", "realtime=1", root, "/probe"},
		{"run", "--clock", "boottime=-999999999", root, "/probe"},
		{"run", "--mount", "type=tmpfs", root, "/probe"},
		{"run", "--mount", "type=nofs,destination=/x", root, "/probe"},
		{"run", "--mount", "type=tmpfs,destination=/x,size=much", root, "/probe"},
		{"run", "--mount", "type=bind,source=/no/such/file,destination=/x", root, "/probe"},
		{"run", "--mount", "type=tmpfs,destination=/proc/self", root, "/probe"},
		{"run", "--flag", root, "/probe"},
		{"new", "uts"},
		{"new", "uts", "/no/such/program"},
		{"new", "uts,uts", "/bin/true"},
		{"new", "mount-me", "/bin/true"},
		{"join", "4194305", "/bin/true"},
		{"join", root, "/bin/true"},
		{"keep", fmt.Sprint(os.Getpid()), root + "/kept", "mnt"}, // which would have to hold itself
		{"keep", "nobody", root + "/kept", "uts"},
		{"forget", root},
		{"escape", "--by", "magic", "/bin/sh"},
		{"sideways"},
	} {
		all.WriteString(strings.ReplaceAll(mistake(t, stage02(t, args...)), fmt.Sprint("keep ", os.Getpid()), "keep PID"))
	}
	testkit.Golden(t, all.String(), "errors.golden")
}

// What an ordinary user may not do is said with a way that he may go.
func TestWhatAnOrdinaryUserMayNotDo(t *testing.T) {
	testkit.HostUnchanged(t)
	var all strings.Builder
	for _, args := range [][]string{
		{"new", "uts", "/bin/true"},
		{"join", "1", "/bin/true"},
		{"keep", "self", "kept", "uts"},
	} {
		cmd := asNobody(t, stage02(t))
		if args[1] == "self" {
			args[1] = fmt.Sprint(os.Getpid())
		}
		cmd.Args = append(cmd.Args, args...)
		all.WriteString(strings.Replace(mistake(t, cmd), fmt.Sprint(os.Getpid()), "PID", -1))
	}
	testkit.Golden(t, all.String(), "unprivileged.golden")
}

// Where the distribution takes the rights from ordinary users' namespaces, that is
// the hint. A file plays the setting of a kernel with AppArmor, and hides a part
// of /proc: so the kernel refuses a step.
func TestARestrictionOfTheDistributionIsNamed(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "setpriv", "mount")
	cmd := asNobody(t, stage02(t))
	output(t, exec.Command("cp", "-r", shellRoot(t), cmd.Dir+"/root"))
	output(t, exec.Command("chmod", "-R", "a+rX", cmd.Dir+"/root"))
	line := fmt.Sprintf(`mount -t tmpfs settings /proc/sys/kernel && echo 1 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns &&
exec setpriv --reuid=%d --regid=%d --clear-groups %s run %s/root sh -c true`, nobody, nobody, cmd.Path, cmd.Dir)
	out, err := stage02(t, "new", "mnt", "sh", "-c", line).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "operation not permitted") || !strings.Contains(string(out), "hint: AppArmor keeps") {
		t.Errorf("got %v: %s", err, out)
	}
}

// mistake runs cmd, which must fail with status 1, and returns the command
// line and what it said.
func mistake(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	return testkit.Mistake(t, "stage02", cmd)
}
