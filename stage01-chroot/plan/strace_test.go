package plan_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// everyCall has each constructor at least once, with arguments that do no
// harm: paths that do not exist, descriptors that are not open.
func everyCall() *plan.Plan {
	p := &plan.Plan{}
	const nowhere = "/nonexistent/place"
	closed := plan.Descriptor{Number: 987}
	fs := p.Register("fs")
	p.Add(
		plan.Chdir(nowhere), plan.Fchdir(closed), plan.Chroot("/nonexistent/\"quoted\"\tö"),
		plan.Openat2(closed, "a", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}),
		plan.Openat2(closed, "a", unix.OpenHow{Flags: unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC | unix.O_APPEND | unix.O_NONBLOCK | unix.O_NOCTTY, Mode: 0o644}),
		plan.Openat2(closed, "a", unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH}),
		plan.Mkdirat(closed, "proc", 0o755), plan.Mkdirat(plan.CWD, nowhere, 0),
		plan.Mknodat(closed, "null", unix.S_IFCHR|0o666, unix.Mkdev(1, 3)), plan.Mknodat(closed, "tty", unix.S_IFCHR|0o666, unix.Mkdev(5, 0)),
		plan.Mknodat(closed, "file", unix.S_IFREG|0o644, 0),
		plan.Symlinkat("/proc/self/fd", closed, "fd"), plan.Faccessat2(plan.CWD, nowhere),
		plan.Fchmodat(closed, "pts", 0o4755), plan.Utimensat(closed, "pts", unix.Timespec{}, unix.Timespec{}), plan.Sendfile(closed, plan.Descriptor{Number: 988}),
		plan.Mknodat(closed, "socket", unix.S_IFSOCK|0o600, 0),
		plan.Fchownat(closed, "pts", 0, 5), plan.Umask(0o22), plan.Umask(0), plan.Umask(0o7777),
		plan.Close(closed), plan.CloseOnExec(900), plan.Dup3(closed, 986),
		plan.Write(closed, "1\n"),
	)
	p.Add(
		plan.Mount("proc", nowhere, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
		plan.Mount("", nowhere, "", unix.MS_REC|unix.MS_PRIVATE, ""),
		plan.Mount("tmpfs", nowhere, "tmpfs", unix.MS_RDONLY|unix.MS_STRICTATIME|unix.MS_NOATIME|unix.MS_SYNCHRONOUS, "mode=755,size=64k"),
		plan.Mount("/a", nowhere, "", unix.MS_BIND|unix.MS_REC|unix.MS_SLAVE|unix.MS_REMOUNT|unix.MS_RELATIME|unix.MS_SHARED|unix.MS_UNBINDABLE, ""),
		plan.Umount2(nowhere, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW), plan.PivotRoot(nowhere, "."),
		plan.Fsopen("nosuchfs"), plan.FsconfigString(fs, "mode", "755"), plan.FsconfigFlag(fs, "ro"), plan.FsconfigCreate(fs),
		plan.Fsmount(fs, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY),
		plan.Fsmount(fs, 0),
		plan.OpenTree(closed, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH),
		plan.MoveMount(closed, fs),
		plan.MountSetattr(closed, unix.AT_RECURSIVE, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSYMFOLLOW, Attr_clr: unix.MOUNT_ATTR_NOSUID, Propagation: unix.MS_SLAVE}),
		plan.MountSetattr(closed, 0, unix.MountAttr{Attr_clr: unix.MOUNT_ATTR__ATIME}),
		plan.MountSetattrIDMap(closed, unix.AT_RECURSIVE, plan.Descriptor{Number: 986}),
		plan.Mount("", nowhere, "", unix.MS_REMOUNT|unix.MS_I_VERSION|unix.MS_LAZYTIME|unix.MS_SYNCHRONOUS, ""),
		plan.Fspick(closed, ""), plan.FsconfigReconfigure(fs),
	)
	p.Add(
		plan.Setns(closed, unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID), plan.Unshare(0),
		plan.Unshare(unix.CLONE_NEWUTS|unix.CLONE_NEWIPC),
		plan.Sethostname("a"), plan.Setdomainname("b"), // in the uts namespace that was just made
		plan.ControllingTerminal(closed),
		plan.Prlimit(unix.RLIMIT_CORE, unix.Rlimit{Cur: 0, Max: 1 << 20}),
		plan.Prlimit(unix.RLIMIT_CPU, unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}),
		plan.Prlimit(unix.RLIMIT_FSIZE, unix.Rlimit{Cur: 1 << 40, Max: 1 << 40}),
		plan.SetSignalMask(0), plan.SetSignalMask(^uint64(0)),
		plan.SetSignalMask(1<<(unix.SIGUSR1-1)|1<<(unix.SIGUSR2-1)), plan.SetSignalMask(1<<33|1<<(unix.SIGHUP-1)),
		plan.SetSignalMask(0), plan.Execve(nowhere, []string{"a", "b\x01c"}, []string{"PATH=/bin", "E="}), plan.Execve(nowhere, nil, nil),
		plan.Setsid(), plan.Setpgid(), plan.Foreground(closed, 1),
	)
	p.Add(plan.LoopbackUp(p)...)
	p.Add(plan.CloseOthers(901, 905, 903)...)
	p.Add(plan.HoldAlive(p, closed))
	attributes(p)
	p.Add(
		plan.Setgroups(), plan.Setgroups(1, 22, 333), plan.KeepCapabilities(), plan.NoNewPrivileges(), plan.NotDumpable(),
		plan.ParentDeathSignal(unix.SIGKILL), plan.ClearAmbient(), plan.RaiseAmbient(unix.CAP_CHOWN),
		plan.DropBounding(unix.CAP_SYS_MODULE),
		plan.Capset(plan.Capabilities{Effective: 1<<unix.CAP_CHOWN | 1<<unix.CAP_BPF, Permitted: 1<<unix.CAP_CHOWN | 1<<unix.CAP_BPF}),
		plan.Setresgid(0), plan.Setresuid(0), plan.Exit(0),
	)
	return p
}

// attributes adds the calls of calls_resources.go and calls_inherited.go.
func attributes(p *plan.Plan) {
	p.Add(
		plan.SchedSetattr(unix.SchedAttr{Flags: 1, Nice: 5}), plan.SchedSetattr(unix.SchedAttr{Policy: 3, Flags: 1 << 3, Nice: -5}),
		plan.SchedSetattr(unix.SchedAttr{Policy: 6, Flags: 6, Runtime: 1, Deadline: 2, Period: 3}),
		plan.SchedSetattr(unix.SchedAttr{Policy: 1, Priority: 7, Flags: 0x70}), plan.SchedSetattr(unix.SchedAttr{Policy: 5, Flags: 0x20}),
		plan.SchedSetaffinity([]uint64{3, 1}), plan.SchedSetaffinity([]uint64{1}),
		plan.IoprioSet(2, 7), plan.IoprioSet(3, 0),
		plan.SetMempolicy(0, 0, nil), plan.SetMempolicy(2, 1<<15, []uint64{1, 3}), plan.SetMempolicy(6, 0, []uint64{1}),
		plan.SetMempolicy(3, 1<<13|1<<14, []uint64{1}), plan.SetMempolicy(5, 0, []uint64{1}),
		plan.Personality(plan.PerLinux32), plan.Personality(plan.PerLinux),
		plan.JoinSessionKeyring("_ses.test"), plan.KeyringPermissions(p.Register("keyring"), plan.KeyUserSearch),
		plan.KeyringPermissions(p.Register("keyring"), plan.KeyOtherSearch),
	)
}

// numbers is how a trace shows what a plan shows by name: here no register
// was ever written, so all hold -1.
func numbers(string) string { return "-1" }

func TestEveryCallIsPrintedAsStraceSeesIt(t *testing.T) {
	if os.Getenv("RUN_EVERY_CALL") != "" {
		// The names are changed in a uts namespace that one thread has made:
		// on another thread they would be the host's.
		runtime.LockOSThread()
		for _, s := range everyCall().Steps() {
			single := everyCall() // has all the registers
			*single = *single.Only(s)
			_ = plan.Run(single) // most calls fail, on purpose
		}
		return
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("this test needs strace")
	}
	seen := traceOf(t)
	for _, s := range everyCall().Steps() {
		if want := s.Text(numbers); !strings.Contains(seen, want+" ") {
			t.Errorf("printed: %s\nstrace:  %s", want, nearest(seen, s.Call()))
		}
	}
}

// traceOf runs this test again under strace and returns what all its threads
// called; each thread has a file of its own (-ff), so no line is cut in two.
func traceOf(t *testing.T) string {
	trace := t.TempDir()
	cmd := exec.Command("strace", "-ff", "-v", "-s", "4096", "-o", trace+"/thread", os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "RUN_EVERY_CALL=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, _ := filepath.Glob(trace + "/thread.*")
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return knownGaps.Replace(all.String())
}

// knownGaps is where strace 6.1 says less than it could.
var knownGaps = strings.NewReplacer(
	" /* MS_??? */", "", // a propagation of 0, which means: leave it
	"0x6 /* MPOL_??? */", "MPOL_WEIGHTED_INTERLEAVE", // Linux 6.9
	"KEYCTL_SETPERM, KEY_SPEC_THREAD_KEYRING", "KEYCTL_SETPERM, -1", // a keyring that is not there
	"MOUNT_ATTR_NOATIME|MOUNT_ATTR_STRICTATIME|0x40", "MOUNT_ATTR__ATIME",
)

// nearest lists the lines of the trace with the same call, for the message.
func nearest(trace, call string) string {
	var lines []string
	for line := range strings.Lines(trace) {
		if strings.HasPrefix(line, call+"(") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n         ")
}
