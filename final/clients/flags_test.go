package clients

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Flags of run that are the same for both engines: what is in config.json
// because of them, a program in the container looks for.

// A flag of run, and what the program in the container finds.
type runFlag struct {
	name   string
	flags  []string
	script string
	out    string
}

// runFlags lists flags that are the same for both engines.
func (e *engine) runFlags() []runFlag {
	data := e.write("data/file", "of the host\n")
	forbids := e.write("seccomp.json", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
		{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99},
		{"names": ["chown", "fchownat"], "action": "SCMP_ACT_ERRNO"}]}`)
	status := func(field string) string { return "awk '/^" + field + ":/ { print $2 }' /proc/self/status" }
	return []runFlag{
		{"hostname", []string{"--hostname=inside"}, "hostname", "inside"},
		{"host's uts namespace", []string{"--uts=host"}, "hostname", e.hostname()},
		{"user", []string{"--user=guest", "--group-add=1002"}, "id; umask", "uid=1000(guest) gid=1001(guest) groups=1001(guest),1002(friends)\n0022"},
		{"numeric user", []string{"--user=1234:5678"}, "id -u; id -g; id -G", "1234\n5678\n5678"},
		{"home", []string{"--user=guest"}, "echo $HOME", "/tmp"},
		{"working directory", []string{"--workdir=/tmp"}, "pwd", "/tmp"},
		{"read-only", []string{"--read-only"}, "touch /x 2>&1; touch /dev/shm/x && echo but not all", "touch: /x: Read-only file system\nbut not all"},
		{"tmpfs", []string{"--tmpfs=/scratch:size=64k,mode=700"}, "stat -c %a /scratch; df -k /scratch | awk 'END { print $2 }'", "700\n64"},
		{"volume", []string{"--volume=" + data + ":/data"}, "cat /data; echo more >> /data && echo written", "of the host\nwritten"},
		{"read-only volume", []string{"--volume=" + data + ":/data:ro"}, "(echo more >> /data) 2>&1", "sh: can't create /data: Read-only file system"},
		{"shared memory", []string{"--shm-size=1m"}, "df -k /dev/shm | awk 'END { print $2 }'", "1024"},
		{
			"device",
			[]string{"--device=" + e.device() + ":/dev/own:r"},
			"(: < /dev/own) 2>&1; (: > /dev/own) 2>&1",
			"sh: can't open /dev/own: No such device or address\nsh: can't create /dev/own: Operation not permitted",
		},
		{"sysctl", []string{"--sysctl=net.ipv4.ip_forward=1"}, "cat /proc/sys/net/ipv4/ip_forward", "1"},
		{"open files", []string{"--ulimit=nofile=100:200", "--ulimit=nproc=1000:1000"}, "ulimit -Sn; ulimit -Hn", "100\n200"},
		{"pids", []string{"--pids-limit=77"}, "cd /sys/fs/cgroup; cat pids/pids.max 2>&- || cat pids.max", "77"},
		{"cpus", []string{"--cpus=0.5"}, "cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us 2>&- || awk '{ print $1 }' cpu.max", "50000"},
		{"a processor", []string{"--cpuset-cpus=0"}, status("Cpus_allowed_list"), "0"},
		{"oom score", []string{"--oom-score-adj=500"}, "cat /proc/self/oom_score_adj", "500"},
		{"init", []string{"--init"}, "grep -c init /proc/1/comm", "1"},
		{"no capabilities", []string{"--cap-drop=all"}, status("CapEff") + "; " + status("CapBnd"), "0000000000000000\n0000000000000000"},
		{"one capability", []string{"--cap-drop=all", "--cap-add=chown"}, status("CapEff"), "0000000000000001"},
		{"no new privileges", []string{"--security-opt=no-new-privileges"}, status("NoNewPrivs"), "1"},
		{"default seccomp profile", nil, status("Seccomp") + "; linux64 echo ran; linux64 -R true || echo refused", "2\nran\nrefused"},
		{"no seccomp", []string{"--security-opt=seccomp=unconfined"}, status("Seccomp") + "; linux64 -R echo ran", "0\nran"},
		{
			"own seccomp profile",
			[]string{"--security-opt=seccomp=" + forbids},
			"mkdir /x 2>&1; chown 1 /text 2>&1",
			"mkdir: can't create directory '/x': Cannot assign requested address\nchown: /text: Operation not permitted",
		},
		{
			"masked paths", nil, "wc -c < /proc/timer_list; ls /sys/firmware; (echo x > /proc/sys/kernel/hostname) 2>&1",
			"0\nsh: can't create /proc/sys/kernel/hostname: Read-only file system",
		},
	}
}

// device makes a node of a device that no driver has: to open it is refused
// by the container's device rules, or else fails.
func (e *engine) device() (path string) {
	e.Helper()
	path = e.path("device")
	e.must(unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(localDevice, 0))))
	return path
}

// localDevice is a major number for local use, which no driver is given:
// devices.txt in the kernel's documentation.
const localDevice = 120

func (e *engine) hostname() string {
	e.Helper()
	name, err := os.Hostname()
	e.must(err)
	return name
}

// useFlags tries all flags of run.
func (e *engine) useFlags(t *testing.T) {
	t.Run("flags", func(t *testing.T) {
		for _, f := range e.runFlags() {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.check(e.in(t))
			})
		}
	})
}

func (f runFlag) check(e *engine) {
	e.Helper()
	got := e.do(e.runs(append(append([]string{}, f.flags...), e.image, "sh", "-c", f.script)...)...)
	if strings.TrimSuffix(got.out, "\n") != f.out {
		e.Errorf("%q: status %d\n got %q\nwant %q\n%s", f.flags, got.status, got.out, f.out, got.err)
	}
}
