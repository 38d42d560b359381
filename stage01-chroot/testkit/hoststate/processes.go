package hoststate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The descendants of this process, from /proc/PID/stat (proc_pid_stat(5)). A
// dead process that its parent has not waited for counts: it keeps its pid.

// AdoptOrphans makes this process the one that its orphaned descendants come
// to, instead of pid 1 (PR_SET_CHILD_SUBREAPER, prctl(2)). Without it a
// process that a container left behind is no descendant any more, and no
// picture shows it. Adopted or not, a dead child must be waited for.
func AdoptOrphans() error {
	err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	return os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", err)
}

// Zombies returns the pids of the dead children of this process.
func Zombies() ([]int, error) {
	family, err := descendants()
	var pids []int
	for _, p := range family {
		if p.parent == os.Getpid() && p.state == "Z" {
			pids = append(pids, p.pid)
		}
	}
	return pids, err
}

type process struct {
	pid, parent int
	comm        string // the program's name, at most 15 bytes
	state       string // R, S, D, Z, T, …
}

func (p process) String() string {
	if p.state == "Z" {
		return fmt.Sprintf("pid %d (%s, a zombie)", p.pid, p.comm)
	}
	return fmt.Sprintf("pid %d (%s)", p.pid, p.comm)
}

// processes lists the descendants. A process may run another program or die
// and stay the same thing, so only its pid is compared.
func processes() ([]Thing, error) {
	family, err := descendants()
	var things []Thing
	for _, p := range family {
		note := fmt.Sprintf("%s, state %s, parent %d", p.comm, p.state, p.parent)
		things = append(things, Thing{Kind: "process", Name: fmt.Sprintf("pid %d", p.pid), Note: note})
	}
	return things, err
}

// descendants returns the children of this process, their children and so on.
func descendants() ([]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]process{}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		p, err := parseStat(string(line))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		children[p.parent] = append(children[p.parent], p)
	}
	family := children[os.Getpid()]
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i].pid]...)
	}
	return family, nil
}

// parseStat reads "pid (comm) state ppid …". The name is between the first
// and the last parenthesis, since it may contain both kinds and spaces.
func parseStat(line string) (process, error) {
	open, closing := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || closing < open {
		return process{}, fmt.Errorf("not a process: %q", line)
	}
	fields := strings.Fields(line[closing+1:])
	if len(fields) < 2 {
		return process{}, fmt.Errorf("not a process: %q", line)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line[:open]))
	if err != nil {
		return process{}, err
	}
	parent, err := strconv.Atoi(fields[1])
	return process{pid, parent, line[open+1 : closing], fields[0]}, err
}
