package testkit

import (
	"os"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"
)

// Text that is the same on every machine and in every run: what varies is
// replaced by a word that says what stood there.

// rule replaces what pattern matches.
type rule struct {
	why     string
	pattern *regexp.Regexp
	with    string
}

// rules are applied in this order. What is not here stays: digests and sizes
// above all, since they must not vary.
var rules = sync.OnceValue(func() []rule {
	r := func(why, pattern, with string) rule { return rule{why, regexp.MustCompile(pattern), with} }
	temp := regexp.QuoteMeta(os.TempDir())
	return []rule{
		r("the folder of t.TempDir: the test's name, a random number, a counter",
			temp+`/(Test|Benchmark|Fuzz)[^/\s"']*\d/\d{3}\b`, "TEMP"),
		r("the folder of a program that Build made",
			temp+`/skiff-programs-\d+/\d+\b`, "TEMP"),
		r("a folder of os.MkdirTemp or mktemp: a name that ends in random characters; perhaps in another one",
			temp+`(/[\w.-]*?(\d{6,}|\.\w{6,10})\b)+`, "TEMP"),
		r("the kernel that the test runs on",
			regexp.QuoteMeta(kernelRelease()), "KERNEL"),
		r("the inode number of a namespace, socket or pipe",
			`\b(cgroup|ipc|mnt|net|pid|time|user|uts|socket|pipe):\[\d+\]`, "$1:[INODE]"),
		r("a process id, but for 0 (nobody) and 1 (a container's first process)",
			`\b((?i:pid|ppid|tgid|process)"?[ \t]*[:=]?[ \t]*)([2-9]|[1-9]\d+)\b`, "${1}PID"),
		r("a process's folder in /proc",
			`/proc/([2-9]|[1-9]\d+)\b`, "/proc/PID"),
		r("a point in time as RFC 3339 has it",
			`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d)?`, "TIME"),
		r("how long something took, as Go prints it (1m2.5s, 340µs) or with a space (8.1 ms)",
			`\b(\d+h)?(\d+m)?\d+(\.\d+)? ?(ns|µs|us|ms|s)\b`, "DURATION"),
		r("a port on loopback that the kernel chose",
			`(127\.0\.0\.1|\blocalhost|\[::1\]):\d+\b`, "$1:PORT"),
	}
})

// Normalize replaces what varies from run to run and from machine to machine.
func Normalize(s string) string {
	for _, rule := range rules() {
		s = rule.pattern.ReplaceAllString(s, rule.with)
	}
	return s
}

// kernelRelease is what `uname -r` prints. Without an answer, which the kernel
// always gives, it is a word that no text contains.
func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "\x00"
	}
	return unix.ByteSliceToString(name.Release[:])
}
