package main

import "strings"

// The parts of the demonstration, in their order: what a root of its own hides,
// what is missing in it, and what it leaves in reach.

func (s stage) noWalls() {
	s.Part("no walls")
	s.Say("A program on the host can read whatever its user can. Here is a secret:")
	s.Do(`echo "the host's secret" > secret`)
	s.Do("cat secret")
}

func (s stage) newRoot() {
	s.Part("a root of its own")
	s.Say("A root file system, made of the host's programs and the libraries that they need:")
	s.Do("stage01 root root sh ls cat id hostname ps mount")
	s.Say("A program that runs in it finds these files and no others:")
	s.Do("stage01 run root ls -d /etc /proc /root /tmp")
	s.Refused("stage01 run root ls /home")
	s.Do("stage01 run root cat /etc/passwd")
	s.Do("stage01 run root id -un")
}

func (s stage) plan() {
	s.Part("the plan")
	s.Say("That was four system calls:")
	s.Do("stage01 plan root ls -l /")
}

func (s stage) attack() {
	s.Part("attack: read the secret")
	s.Say(`The folder above the new root holds the secret, but in "/" the name ".." means "/":`)
	s.Refused("stage01 run root cat ../secret")
	s.Refused(`stage01 run root cat "$PWD/secret"`)
}

func (s stage) kernelFiles() {
	s.Part("/dev, /proc, /sys")
	s.Say("Some files are no files: the kernel answers. Without them, what is thrown away is kept, and\nprocesses and devices are not there:")
	s.Do("stage01 run root sh -c 'echo waste > /dev/null; cat /dev/null'")
	s.Refused("stage01 run root ps")
	s.Refused("stage01 run root ls /sys/class/net/lo/flags")
	s.Say("So the plan mounts them:")
	s.Do("stage01 plan --dev --proc --sys root ps")
	s.Do("stage01 run --dev --proc --sys root sh -c 'echo waste > /dev/null; cat /dev/null; ps -o comm= -p $$'")
	s.Do("stage01 run root ls /sys/class/net/lo/flags")
	s.Say("The program has ended. Its mounts have not, and they are mounts of the host:")
	s.Do(`mount | grep "$PWD" | cut -d ' ' -f 1-5`)
	s.Do("stage01 clean root")
	s.Refused(`mount | grep "$PWD"`)
}

// stillShared shows what has nothing to do with file names.
func (s stage) stillShared() {
	s.Part("what is still the host's")
	s.Say("The host name is the host's, and root in there may change it:")
	s.Do("hostname")
	s.Do("stage01 run root hostname")
	s.Say("Whether we mount anything or not, the program may:")
	s.Do("stage01 run root mount -t proc proc /proc")
	s.Do(`mount | grep "$PWD" | cut -d ' ' -f 1-5`)
	s.Say("Now it sees every process of the host, may look into its root, and may end it:")
	sleep := s.Background("sleep 60")
	defer sleep.End()
	s.Do("stage01 run root ps -o comm= -p $pid")
	s.Do(`stage01 run root cat "/proc/$pid/root$PWD/secret"`)
	s.Do(`stage01 run root sh -c "kill -TERM $pid"`)
	sleep.Ended()
}

func (s stage) breakOut() {
	s.Part("attack: break out")
	s.Say("The program need not even stay in its root. An intruder brings his own tool, which is this one:")
	s.Run(`cp "$(which stage01)" root/tmp/stage01`, s.Command("cp /proc/$PPID/exe root/tmp/stage01"))
	s.Do("stage01 escape --plan /bin/cat /secret")
	s.Say("Run inside, it reads outside:")
	s.Do(`stage01 run root /tmp/stage01 escape /bin/cat "$PWD/secret"`)
	s.Say("So does a directory that was opened before, and the root of any process outside:")
	s.Do(`stage01 run root /tmp/stage01 escape --by descriptor /bin/cat "$PWD/secret"`)
	sleep := s.Background("sleep 60")
	defer sleep.End()
	s.Do(`stage01 run root /tmp/stage01 escape --by proc --pid $pid /bin/cat "$PWD/secret"`)
}

func (s stage) leak() {
	s.Part("attack: a door left open")
	s.Say("Here it was not the program that opened the directory, but whoever has started it. chroot(8)\nhands on every descriptor that it was given:")
	const attack = ` root /tmp/stage01 escape --by leak /bin/cat "$PWD/secret" 3< /`
	s.Do("chroot" + attack)
	s.Say("Our plan shuts that door, with close_range. The other three need nothing that we could close:")
	s.Refused("stage01 run" + attack)
}

func (s stage) why() {
	s.Part("why this is no boundary")
	s.Say("%s", strings.TrimSpace(`
chroot(2) changes where the names of one process begin. It does not take away
anything that the process could do before: mount, kill, set the host name, call
chroot again. Processes, mounts and the host name have no file names at all.
Chapter 2 gives the program a set of its own of each, and a root with nothing
above it.`))
}
