package oci

import (
	"errors"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// Labels are tested here without a kernel that has use for them: what is written, and
// that it is written there and nowhere else.

// openLabels is the labels of a process, with what they are written through open.
func openLabels(t *testing.T, l labels) labels {
	t.Helper()
	l.proc = &hostProc{}
	if err := l.proc.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.proc.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// The attributes of a security module are files of /proc; what is above them is open
// since before the container was there.
func TestLabelsAreWrittenThroughTheHostsProc(t *testing.T) {
	a := attributes{process: &specs.Process{}, linux: &specs.Linux{}, ring: "_ses.box"}
	a.labels = openLabels(t, labels{apparmor: "docker-default", selinux: "u:r:t:s0"})
	p := &plan.Plan{}
	if err := a.steps(p); err != nil {
		t.Fatal(err)
	}
	const how = ", {flags=O_WRONLY|O_CLOEXEC, resolve=RESOLVE_NO_XDEV|RESOLVE_NO_MAGICLINKS|RESOLVE_BENEATH}, 24) = kernels_file\n"
	want := `# a session keyring of its own (chapter 7)
openat2(proc, "self/attr/keycreate"` + how + `write(kernels_file, "u:r:t:s0", 8)
close(kernels_file)
keyctl(KEYCTL_JOIN_SESSION_KEYRING, "_ses.box") = keyring  /* ENOSYS is fine */
keyctl(KEYCTL_SETPERM, keyring, KEY_POS_VIEW|KEY_POS_READ|KEY_POS_WRITE|KEY_POS_SEARCH|KEY_POS_LINK|KEY_POS_SETATTR|KEY_USR_VIEW|KEY_USR_READ|KEY_USR_SEARCH|KEY_USR_LINK)  /* if keyring */

# labels of security modules (chapter 7)
openat2(proc, "self/attr/apparmor/exec"` + how + `write(kernels_file, "exec docker-default", 19)
close(kernels_file)
openat2(proc, "self/attr/exec"` + how + `write(kernels_file, "u:r:t:s0", 8)
close(kernels_file)
`
	if got := p.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// CVE-2025-52881, CVE-2019-16884, CVE-2019-19921: the attributes are covered by
// something else, which would take the label and do nothing. What covers the
// container's /proc is not seen; what covers the host's is refused. That the label came
// to the kernel is seen by its answer: here it knows none (EINVAL).
func TestAttributesThatAreCoveredAreNotMistaken(t *testing.T) {
	testkit.HostUnchanged(t)
	trap := t.TempDir()
	if err := os.WriteFile(trap+"/exec", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	folder := plan.Mount(trap, "/proc/self/attr", "", unix.MS_BIND, "")
	file := plan.Mount(trap+"/exec", "/proc/self/attr/exec", "", unix.MS_BIND, "")
	for name, c := range map[string]struct {
		cover []plan.Step
		hosts bool // what is covered is what the labels are written through
		want  unix.Errno
	}{
		"nothing":                         {nil, true, unix.EINVAL},
		"a folder, in the container":      {[]plan.Step{folder}, false, unix.EINVAL},
		"a file, in the container":        {[]plan.Step{file}, false, unix.EINVAL},
		"all of /proc, in the container":  {[]plan.Step{plan.Mount(trap, "/proc", "", unix.MS_BIND, "")}, false, unix.EINVAL},
		"a folder over the host's /proc":  {[]plan.Step{folder}, true, unix.EXDEV},
		"a file over that of the host's":  {[]plan.Step{file}, true, unix.EXDEV},
		"a proc over that, and a folder ": {[]plan.Step{plan.Mount("proc", "/proc", "proc", 0, ""), folder}, true, unix.EXDEV},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLabels(t, labels{selinux: "no:such:label:s0"})
			p := &plan.Plan{}
			p.Add(plan.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
			p.Add(c.cover...)
			if c.hosts { // as if it had been so when /proc was opened
				again := p.Register("again")
				how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC}
				p.Add(plan.Openat2(plan.CWD, "/proc", how).Into(again), plan.Dup3(again, int(l.proc.file.Fd())))
			}
			l.steps(p)
			p.Add(plan.Exit(0))
			process, err := launch.Start(p, launch.Options{Namespaces: unix.CLONE_NEWNS})
			if err != nil {
				t.Fatal(err)
			}
			_, err = process.Wait()
			var step *plan.Error
			if !errors.As(err, &step) || step.Errno != c.want || !strings.HasPrefix(err.Error(), `choose SELinux label "no:such:label:s0"`) {
				t.Errorf("got %v, hint %q, want %v", err, hint.Of(err), c.want)
			}
			if err := process.Close(); err != nil {
				t.Error(err)
			}
			if text, _ := os.ReadFile(trap + "/exec"); len(text) > 0 {
				t.Errorf("the label went to the trap: %q", text)
			}
		})
	}
}

// A /proc that is none cannot be told by its name.
func TestAProcThatIsNone(t *testing.T) {
	if os.Getenv("PROC_IS_A_TMPFS") != "" {
		if err := (&hostProc{}).open(); err == nil || !strings.Contains(err.Error(), "/proc is not a proc file system") {
			t.Errorf("got %v", err)
		}
		return
	}
	testkit.HostUnchanged(t)
	p := &plan.Plan{}
	p.Add(
		plan.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		plan.Mount("tmpfs", "/proc", "tmpfs", 0, ""),
		plan.SetSignalMask(0),
		plan.Execve(os.Args[0], []string{os.Args[0], "-test.run=^" + t.Name() + "$"}, []string{"PROC_IS_A_TMPFS=1", "PATH=/bin"}),
	)
	process, err := launch.Start(p, launch.Options{Namespaces: unix.CLONE_NEWNS})
	if err != nil {
		t.Fatal(err)
	}
	status, err := process.Wait()
	if err != nil || status.ExitStatus() != 0 {
		t.Errorf("status %d, error %v", status.ExitStatus(), err)
	}
	if err := process.Close(); err != nil {
		t.Error(err)
	}
}

// runtime-spec config-linux.md, "Mount Label", is for file systems that keep none of
// their own.
func TestTheLabelOfFilesIsForFileSystemsThatTakeOne(t *testing.T) {
	const label = "u:object_r:f_t:s0:c1,c2"
	for _, c := range []struct {
		mount specs.Mount
		takes bool
	}{
		{specs.Mount{Type: "tmpfs", Options: []string{"nosuid"}}, true},
		{specs.Mount{Type: "devpts"}, true},
		{specs.Mount{Type: "proc"}, false},
		{specs.Mount{Type: "sysfs"}, false},
		{specs.Mount{Type: "cgroup2"}, false},
		{specs.Mount{Type: "mqueue"}, false},
		{specs.Mount{Type: "bind"}, false},
		{specs.Mount{Type: "none", Options: []string{"rbind"}}, false},
		{specs.Mount{Type: "tmpfs", Options: []string{"remount"}}, false},
		{specs.Mount{Type: "tmpfs", Options: []string{"context=other"}}, false},
	} {
		before := len(c.mount.Options)
		got := labelled(c.mount, label)
		if takes := len(got.Options) > before && got.Options[before] == "context="+label; takes != c.takes {
			t.Errorf("%+v becomes %+v", c.mount, got)
		}
		if got := labelled(c.mount, ""); len(got.Options) != before {
			t.Errorf("no label, and yet %+v", got)
		}
	}
}
