// The kernel's word: strace sees one write for each record, and the journal
// opened with the flags that the promises rest on.

package journal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

func TestOneRecordIsOneWrite(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	dir := t.TempDir()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-y", "-s", "200", "-e", "trace=openat,write", "-o", trace,
		os.Args[0], "make-things", dir)
	cmd.Stdin = strings.NewReader(strings.Repeat("\n", 11))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seen := cat(t, trace)
	open := regexp.MustCompile(`openat\(.*"` + dir + `/journal", O_RDWR\|O_CREAT\|O_APPEND\|O_NONBLOCK\|O_NOFOLLOW\|O_CLOEXEC, 0600\)`)
	if !open.MatchString(seen) {
		t.Errorf("no %v in\n%s", open, seen)
	}
	write := regexp.MustCompile(`write\(\d+<` + dir + `/journal>, "\{.*\}\\n", \d+\)`)
	if n := len(write.FindAllString(seen, -1)); n != 5 {
		t.Errorf("%d writes of whole lines, want 5, in\n%s", n, seen)
	}
	finish(t, dir)
}
