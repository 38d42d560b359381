package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Parts of the demonstration that measure: a hundred containers on one image, what
// of it is in memory how often, and what all of this costs without overlayfs. What
// is measured goes to standard error; shown is whether it is as it must be.

// many is how many containers share an image.
const many = 100

// hundred starts them one after another, and looks at them while all run.
func (s *stage) hundred() {
	s.Part("a hundred containers")
	s.Say("All of these run at the same time, each with a file of its own:")
	s.Say("$ for n in $(seq %d); do stage04 run --name c$n --lower app:base sh -c 'echo $n > /srv/mine; exec sleep 60' & done", many)
	var crowd []*exec.Cmd
	var took []time.Duration
	defer func() { s.end(crowd) }()
	for n := 1; n <= many && s.Err() == nil; n++ {
		began := time.Now()
		crowd = append(crowd, s.begin(n))
		took = append(took, time.Since(began))
	}
	if s.Err() != nil {
		return
	}
	// The machine has other things to do, which makes some of them slow and none fast.
	first, last := slices.Min(took[:many/10]), slices.Min(took[many-many/10:])
	s.judge("The last ones started as fast as the first ones.", last < 3*first,
		fmt.Sprintf("the fastest of the first ten took %v, of the last ten %v", first.Round(time.Millisecond/10), last.Round(time.Millisecond/10)))
	image := s.disk("app") + s.disk("base")
	var all int64
	for n := 1; n <= many; n++ {
		all += s.disk(fmt.Sprintf("state/c%d/writable", n))
	}
	s.judge("All together they take less of the disk than their image does once.", all < image,
		fmt.Sprintf("the image takes %d KiB, a container %d KiB", image/1024, all/1024/many))
	s.memory(crowd)
}

// begin starts one of the crowd, and returns when it runs.
func (s *stage) begin(n int) *exec.Cmd {
	cmd := s.Command(fmt.Sprintf("exec stage04 run --name c%d --lower app:base sh -c 'echo %d > /srv/mine; echo; exec sleep 60'", n, n))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 1))
	}
	if err != nil {
		s.Fail(fmt.Errorf("start container %d of %d: %w", n, many, err))
	}
	return cmd
}

// end ends the crowd: all are told, and then all are waited for.
func (s *stage) end(crowd []*exec.Cmd) {
	for _, cmd := range crowd {
		if cmd.Process == nil {
			continue
		}
		if err := cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.Fail(err)
		}
	}
	for _, cmd := range crowd {
		_ = cmd.Wait() // says that it was ended
	}
}

// memory looks at the C library in the memory of one of the crowd. The kernel has a
// number for what we want to know: Pss counts each page as a part, one of as many as
// there are processes that have it: proc_pid_smaps(5).
func (s *stage) memory(crowd []*exec.Cmd) {
	s.Say("A file that nobody has written to is the same file for all of them, down to its inode:")
	s.Do("stat -c %i base/usr/bin/sleep > one; stage04 run --lower app:base stat -c %i /usr/bin/sleep | cmp - one && echo the same")
	s.Say("So its pages are in memory once. Each process says how many pages of the C library it uses,")
	s.Say("and how many are its share, if each page is divided among all who use it:")
	s.Say("$ grep -A 4 libc.so /proc/PID/smaps")
	rss, pss, err := library(crowd[0].Process.Pid)
	if err != nil {
		s.Fail(err)
		return
	}
	s.judge("Its share is less than a tenth.", pss*10 < rss, fmt.Sprintf("uses %d KiB of libc.so, its share is %d KiB", rss, pss))
}

// library is how much of the C library a container's process has in memory, and its
// share of it, in KiB. The process is the only child of its runtime.
func library(runtime int) (rss, pss int64, err error) {
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", runtime))
	if err != nil {
		return 0, 0, err
	}
	var pids string
	for _, file := range children {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, 0, err
		}
		pids += string(text)
	}
	f, err := os.Open("/proc/" + strings.TrimSpace(pids) + "/smaps")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	mine := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var n int64
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch {
		case strings.Contains(key, "-"): // "7f12…-7f34… r-xp … 00", and after more colons a file
			mine = strings.Contains(value, "libc.so") && strings.Contains(key, "r-xp")
		case mine && (key == "Rss" || key == "Pss"):
			if _, err := fmt.Sscan(value, &n); err != nil {
				return 0, 0, fmt.Errorf("read %q: %w", lines.Text(), err)
			}
			if key == "Rss" {
				rss += n
			} else {
				pss += n
			}
		}
	}
	if rss == 0 {
		return 0, 0, errors.New("the C library is not in the memory of a container's process")
	}
	return rss, pss, nil
}

// without shows the copy that stands in for overlayfs.
func (s *stage) without() {
	s.Part("without overlayfs")
	s.Say("Some kernels have no overlayfs, and it does not take every file system. Then the layers")
	s.Say("are copied, and the runtime says what that costs (N are numbers of this machine):")
	began := time.Now()
	s.Do("stage04 run --copy --lower app:base --writable carol cat /srv/greeting 2>&1 | sed 's/[0-9][0-9]* /N /g'")
	took, image, carol := time.Since(began), s.disk("app")+s.disk("base"), s.disk("carol")
	s.judge("The container takes the disk of the whole image.", carol > image*9/10,
		fmt.Sprintf("the image takes %d KiB, the container %d KiB, its run %v", image/1024, carol/1024, took.Round(time.Millisecond)))
	s.Refused("stage04 diff carol 2>&1")
}

// others shows the same layers with other owners.
func (s *stage) others() {
	s.Part("the same layers for other users")
	s.Say("The root of this container is user 100000 of the host. On disk the layers are root's:")
	s.Do("stat -c '%u %n' base/usr/bin/sh")
	s.Say("In the container it owns them. Nothing was copied or changed; the mount says so:")
	s.Do("stage04 run --ids 100000 --lower app:base --writable dave sh -c 'cat /proc/self/uid_map; stat -c \"%u %n\" /usr/bin/sh; echo hi > /srv/new'")
	s.Say("And what it has written is root's on disk again, as a layer wants it:")
	s.Do("stat -c '%u %n' dave/upper/srv/new")
}

// killed shows what is there after kill -9, and how it goes away.
func (s *stage) killed() {
	s.Part("kill -9")
	s.Say("The mount belongs to the container, and goes with it. The writable layer is a folder:")
	victim := s.Background("stage04 run --name victim --lower app:base sh -c 'echo x > /srv/x; echo > /started; exec sleep 60'")
	defer victim.End()
	s.await("victim", func() bool { _, err := os.Stat(s.Path("state/victim/writable/upper/started")); return err == nil })
	s.Do("kill -9 $pid")
	victim.Ended()
	s.Do("ls state/victim/writable/upper/srv; grep -q state/victim /proc/mounts || echo no mount")
	s.Do("stage04 gc")
	s.Do("test -e state || echo nothing is left")
}

// judge says that something is so, or fails. What was measured goes aside.
func (s *stage) judge(sentence string, so bool, measured string) {
	if s.Err() != nil {
		return
	}
	fmt.Fprintf(s.aside, "  (measured: %s)\n", measured)
	if !so {
		s.Fail(fmt.Errorf("it is not so: %q: measured: %s", sentence, measured))
	}
	s.Say("%s", sentence)
}

// await waits until something is so, at most ten seconds.
func (s *stage) await(what string, so func() bool) {
	for deadline := time.Now().Add(10 * time.Second); s.Err() == nil && !so(); time.Sleep(5 * time.Millisecond) {
		if s.Context.Err() != nil || time.Now().After(deadline) {
			s.Fail(fmt.Errorf("wait for %s: it does not come", what))
		}
	}
}

// disk is what a folder takes of the disk, in bytes.
func (s *stage) disk(name string) int64 {
	if s.Err() != nil {
		return 0
	}
	bytes, _, err := disk(s.Path(name))
	s.Fail(err)
	return bytes
}
