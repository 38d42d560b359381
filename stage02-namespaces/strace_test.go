package main_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// What strace(1) saw of a container's process, for the chapter to show beside
// the plan: its beginning and its end. That each call of a plan is one that the
// kernel gets, and no other, is a test of package launch.
func TestWhatStraceSees(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace", "grep")
	defer syscall.Umask(syscall.Umask(0o022)) // umask(2) returns it
	trace := t.TempDir()
	cmd := stage02(t, "run", "--hostname", "box", probeRoot(t), "/probe", "cwd")
	strace := exec.Command("strace", append([]string{"-ff", "-v", "-s", "4096", "-o", trace + "/process", cmd.Path}, cmd.Args[1:]...)...)
	output(t, strace)
	files, err := filepath.Glob(trace + "/process.*")
	if err != nil {
		t.Fatal(err)
	}
	// -ff writes a file for each process; one of them has become the probe.
	seen := output(t, exec.Command("grep", append([]string{"-h", "-B", "1000", `^execve("/probe"`}, files...)...))
	lines := descriptorsInOrder(strings.Split(strings.TrimSpace(seen), "\n"))
	proc := slices.IndexFunc(lines, startsWith(`openat2(fd2, "sys"`))
	leave := slices.IndexFunc(lines, startsWith("fchdir("))
	if proc < 0 || leave < proc {
		t.Fatalf("neither the mount of /sys nor the last chapter is there:\n%s", strings.Join(lines, "\n"))
	}
	shown := slices.Concat(lines[:proc], []string{"…"}, lines[leave:])
	testkit.Golden(t, strings.Join(shown, "\n")+"\n", "strace.golden")
}

func startsWith(prefix string) func(string) bool {
	return func(s string) bool { return strings.HasPrefix(s, prefix) }
}

// descriptorsInOrder gives the descriptors of a trace names in the order in
// which they were opened: fd1, fd2 … Their numbers depend on what the parent
// had open. The one that comes from there is "alive", as in the plan.
func descriptorsInOrder(lines []string) []string {
	padding := regexp.MustCompile(`\) += `)
	opens := regexp.MustCompile(`^(?:socket|openat2|open_tree|fsopen|fsmount)\(.*\) = (\d+)$`)
	uses := regexp.MustCompile(`(\(|", )(\d+)([,)])`)
	inherited := regexp.MustCompile(`^dup3\(\d+, `)
	names, opened := map[string]string{}, 0
	for i, line := range lines {
		line = padding.ReplaceAllString(line, ") = ")
		line = inherited.ReplaceAllString(line, "dup3(alive, ")
		line = uses.ReplaceAllStringFunc(line, func(use string) string {
			part := uses.FindStringSubmatch(use)
			if name, known := names[part[2]]; known {
				return part[1] + name + part[3]
			}
			return use
		})
		if m := opens.FindStringSubmatch(line); m != nil {
			opened++
			names[m[1]] = fmt.Sprintf("fd%d", opened)
			line = strings.TrimSuffix(line, m[1]) + names[m[1]]
		}
		lines[i] = line
	}
	return lines
}
