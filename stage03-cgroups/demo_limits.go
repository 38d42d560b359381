// The parts of the demonstration that measure: processor time, a disk's speed, a
// counter that stands still.

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fifth is a limit of 20 %. The kernel gives the time out in portions, and a busy
// machine may have less of it to give.
const fifth, tolerance = 0.2, 0.06

func (s *stage) processor() {
	s.Part("processor time")
	s.Say("This loop would keep one processor busy for ever. It may have a fifth of one:")
	spin := s.container("stage03 run --name spin --cpus 0.2 root sh -c 'while :; do :; done'", "spin", "sh")
	defer spin.End()
	before := s.stats("spin")
	share := s.share("spin", time.Second)
	after := s.stats("spin")
	s.judge("In a second it gets a fifth of a second, and not more.", share > 0 && share < fifth+tolerance,
		fmt.Sprintf("%.1f %% of a processor, %d periods of %d cut short", 100*share,
			after.CPU.ThrottledPeriods-before.CPU.ThrottledPeriods, after.CPU.Periods-before.CPU.Periods))
	s.pressure("spin")
	s.Say("A limit can be changed while the program runs. Without one:")
	s.Do("stage03 update --cpus max spin")
	s.await("a loop that runs freely", func() bool { return s.share("spin", 200*time.Millisecond) > fifth+2*tolerance })
	s.Say("It runs freely.")
	s.show("top --once")
}

// pressure shows how long a container has waited, where the kernel counts it. It
// does the sum every two seconds.
func (s *stage) pressure(name string) {
	if stats := s.stats(name); stats.Pressure == nil || stats.Pressure.CPU == nil {
		s.leaveOut("pressure", fmt.Errorf("this kernel or this hierarchy has none: %w", errors.ErrUnsupported))
		return
	}
	for range 30 {
		if p := s.stats(name).Pressure; s.Err() != nil || p == nil || p.CPU.Some.Avg10 > 0 {
			break
		}
		s.wait(100 * time.Millisecond)
	}
	s.show("pressure " + name)
}

// share is the part of one processor that a container uses, over some time.
func (s *stage) share(name string, d time.Duration) float64 {
	began, before := time.Now(), s.stats(name)
	s.wait(d)
	took, after := time.Since(began), s.stats(name)
	return (after.CPU.Usage - before.CPU.Usage).Seconds() / took.Seconds()
}

// disk throttles the writing to a disk that is a file.
func (s *stage) disk() {
	s.Part("a disk")
	if s.Err() != nil {
		return
	}
	const mib = 1 << 20
	if err := os.WriteFile(s.Path("file"), make([]byte, 4*mib), 0o600); err != nil {
		s.Fail(err)
		return
	}
	disk, err := loopDisk(s.Path("file"))
	if err == nil {
		defer disk.Close()
		_, err = s.controller("blkio", "io")
	}
	if err != nil {
		s.leaveOut("a disk", err)
		return
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(disk.Fd()), &st); err != nil {
		s.Fail(err)
		return
	}
	s.Set("disk", fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	s.Set("node", fmt.Sprintf("/dev/disk b %d %d", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	s.Say("A file of 4 MiB serves as a disk; its number is $disk, and mknod makes it from $node.\nOne MiB is written past the page cache, at first as fast as it goes:")
	write := `root sh -c "mknod $node; dd if=/dev/zero of=/dev/disk bs=128k count=8 oflag=direct status=none"`
	free := s.timed(`stage03 run --device "b $disk w" ` + write)
	s.Say("And at half a MiB a second:")
	slow := s.timed(`stage03 run --device "b $disk w" --io-write $disk:512k ` + write)
	if s.Err() != nil {
		return
	}
	// Seven of the eight pieces wait for a quarter of a second. What a container takes to
	// start, half a second and more on an emulated machine, is in both times.
	s.judge("It takes two seconds.", slow > 1600*time.Millisecond && slow-free > 800*time.Millisecond && slow < 30*time.Second,
		fmt.Sprintf("%.2f s, without a limit %.2f s", slow.Seconds(), free.Seconds()))
	s.Say("Whoever may not write to a disk cannot open it, although he may make the node:")
	s.Refused(`stage03 run ` + write)
}

func (s *stage) device() {
	s.Part("a device")
	s.Say("Every container has a few devices. Where the others are is no secret, and root can make\na node for each; to open it is something else. This is the kernel's log:")
	s.Refused(`stage03 run root sh -c 'mknod /dev/log c 1 11; cat /dev/log'`)
	s.Say("A rule more, and the device is there; a rule can also take one away:")
	s.Do(`stage03 run --device "c 1:11 r" root sh -c 'mknod /dev/log c 1 11; exec 3< /dev/log && echo opened'`)
	s.Refused(`stage03 run --device "deny c 1:5 r" root head -c 1 /dev/zero`)
}

func (s *stage) freezer() {
	s.Part("freeze and thaw")
	s.Say("This container counts: it adds a byte to a file again and again.")
	counter := s.container("stage03 run --name counter --pids 10 root sh -c 'while sleep 0.01; do echo >> /count; done'", "counter", "sh")
	defer counter.End()
	s.grows("a counter that counts")
	s.Do("stage03 freeze counter")
	before := s.count()
	s.wait(300 * time.Millisecond)
	s.judge("For some time, nothing is added.", s.count() == before, fmt.Sprintf("%d, and %d", before, s.count()))
	s.Do("stage03 top --once | grep -o 'counter *frozen'")
	s.Do("stage03 thaw counter")
	s.grows("a counter that counts on")
	s.Say("It counts on, and does not know that it stood.")
}

// ownHands is an attack on the limits themselves.
func (s *stage) ownHands() {
	s.Part("attack: change one's own limit")
	s.Do("cat root/climb")
	s.Say("The container's own groups are mounted in it, read-only, and it may not mount:")
	s.Refused("stage03 run --pids 10 root /climb")
}

// count is how far the counter has come.
func (s *stage) count() int64 {
	info, err := os.Stat(s.Path("root/count"))
	if err != nil {
		return 0 // not yet
	}
	return info.Size()
}

// grows waits until the counter has gone on.
func (s *stage) grows(what string) {
	before := s.count()
	s.await(what, func() bool { return s.count() > before })
}
