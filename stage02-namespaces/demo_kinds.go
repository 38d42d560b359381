package main

import "fmt"

// The part of the demonstration in which each kind of namespace is seen alone,
// around programs of the host.

// alone runs a command line in new namespaces of these kinds.
func (s *stage) alone(kinds, line string) { s.Do("stage02 new " + s.user + kinds + " " + line) }

// eachAlone shows the eight kinds.
func (s *stage) eachAlone() {
	s.uts()
	s.ipc()
	s.pid()
	s.mnt()
	s.net()
	s.userIDs()
	s.cgroup()
	s.time()
}

func (s *stage) uts() {
	s.Part("uts: a name of its own")
	s.alone("uts", "sh -c 'hostname box; hostname'")
	s.Do("hostname")
}

func (s *stage) ipc() {
	s.Part("ipc: message queues and shared memory of its own")
	s.Say("A queue of System V has a number and no file. In a new namespace there is none yet,\nand the first one gets number 0:")
	s.alone("ipc", "sh -c 'ipcmk -Q; ipcs -q | grep -c ^0x'")
	s.alone("ipc", "sh -c 'ipcs -q | grep -c ^0x; true'")
}

func (s *stage) pid() {
	s.Part("pid: numbers of its own")
	s.Say("The first process in a new pid namespace is number 1:")
	s.alone("pid", "sh -c 'echo $$'")
	s.Say("But ps(1) reads /proc, and what is mounted there still shows the host's processes:")
	other := s.Background("sleep 60")
	defer other.End()
	s.alone("pid", "ps -o comm= -p $pid")
	s.Say("A proc file system shows the pid namespace of who mounts it. To mount one without\nchanging the host's /proc takes the next kind as well:")
	s.alone("pid,mnt", "sh -c 'mount -t proc proc /proc; ps -e -o pid=,comm=' | tr -s ' '")
}

func (s *stage) mnt() {
	s.Part("mnt: mounts of its own")
	s.alone("mnt", "sh -c 'mount -t tmpfs mine /mnt; grep -c ^mine /proc/mounts'")
	s.Say("The host does not see it:")
	s.Refused("grep -c ^mine /proc/mounts")
	s.Say("That is not to be taken for granted. Most hosts' mounts are shared: what is mounted in\none namespace appears in the copies of it, too. Here an outer namespace plays such a\nhost, and unshare(1) leaves the inner one as it was copied:")
	s.alone("mnt", `sh -c 'mount --make-rshared /
  unshare --mount --propagation unchanged mount -t tmpfs leak /mnt
  echo "the outer one has $(grep -c ^leak /proc/mounts)"'`)
	s.Say("So the first step of ours cuts the copies loose, with MS_REC and MS_PRIVATE:")
	s.alone("mnt", `sh -c 'mount --make-rshared /
  stage02 new mnt mount -t tmpfs leak /mnt
  echo "the outer one has $(grep -c ^leak /proc/mounts)"'`)
}

func (s *stage) net() {
	s.Part("net: interfaces, addresses and ports of its own")
	s.alone("net", "sh -c 'cut -d: -f1 /proc/net/dev | tail -n +3'")
	s.Say("lo is down in a new namespace. The plan switches it on, and nothing leads out:")
	s.Do("stage02 new --plan " + s.user + "net true | grep -A 4 network")
	s.Say("Chapter 6 adds a cable to the outside.")
}

// userIDs cannot be called user.
func (s *stage) userIDs() {
	s.Part("user: ids and rights of its own")
	s.Say("Who makes a user namespace has all rights in it, over what belongs to it. A map says\nwho is who:")
	s.Do("stage02 new user id -u")
	s.Do("stage02 new user sh -c 'cat /proc/self/uid_map | tr -s \" \"'")
	if s.user == "" {
		return // the rest is the chapter's part without root
	}
	s.Say("Outside, the files that this root makes are ours:")
	s.Do("stage02 new user sh -c 'touch made; ls -ln made | cut -d \" \" -f 3'")
	s.Do("ls -ln made | cut -d ' ' -f 3")
}

func (s *stage) cgroup() {
	s.Part("cgroup: the own group is the root")
	s.alone("cgroup", `sh -c 'test $(readlink /proc/self/ns/cgroup) != '$(readlink /proc/self/ns/cgroup) && echo "another namespace"`)
	s.alone("cgroup", "cut -d : -f 3 /proc/self/cgroup | sort -u")
	s.Say("Only the names change: the process is in the same group as before. Chapter 3 is about\nwhat a group may use.")
}

func (s *stage) time() {
	s.Part("time: how long the machine is up")
	const tenDays = 10 * 24 * 60 * 60
	s.Say("The clocks that count from the boot can be ahead. The time of day has no namespace.")
	s.Do(fmt.Sprintf("stage02 new --clock boottime=%d %stime cat /proc/self/timens_offsets | tr -s ' '", tenDays, s.user))
	s.Do(fmt.Sprintf(`stage02 new --clock boottime=%d %stime sh -c 'test $(cut -d. -f1 /proc/uptime) -gt %d && echo "ten days more"'`,
		tenDays, s.user, tenDays))
}
