package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// Published attacks on runtimes, replayed against create and run: a configuration or an
// image that wants out. What mounts withstand is tested where they are made (stage 2),
// our own binary in protect_test.go, hooks in hooks_test.go, exec in a file of its own.

// waysOut are paths through each descriptor that the process may have open.
func waysOut(to string) (paths []string) {
	for n := 3; n <= 64; n++ {
		paths = append(paths, fmt.Sprintf("/proc/self/fd/%d%s%s", n, strings.Repeat("/..", 12), to))
	}
	return paths
}

// CVE-2024-21626: a folder of the host that is open when the program starts is a way
// out: as its working directory, as the path to a program of the host, which can then be
// written to through /proc/self/exe, and as that to an interpreter, which only the
// kernel looks up.
func TestNoDescriptorLeadsOut(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	busybox, err := exec.LookPath("busybox") // static: it needs nothing else of the host
	b.must(err)
	folder, err := os.Open("/") // of who calls skiff-oci, and careless
	b.must(err)
	defer folder.Close()
	try := func(what string, edits ...func(*specs.Spec)) {
		t.Helper()
		b.edit(edits...)
		cmd := b.command("run", "--bundle", b.dir, b.id)
		cmd.ExtraFiles = []*os.File{folder, folder, folder}
		if r := b.finish(cmd); r.status == 0 || strings.Contains(r.out, "HOST") {
			t.Errorf("%s: status %d, %q", what, r.status, r.out)
		}
	}
	for _, path := range waysOut("")[:9] { // the others are among those of programs
		try("working directory "+path, program("echo", "HOST"), func(s *specs.Spec) { s.Process.Cwd = path })
	}
	for _, path := range waysOut(busybox) {
		root := func(s *specs.Spec) { s.Process.Cwd = "/" }
		try("program "+path, program(path, "echo", "HOST"), root)
		b.install("script", "#!"+path+" echo HOST\n")
		try("interpreter "+path, program("/script"), root)
	}
	b.wantNothing()
}

// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561: /proc or /sys is something else.
func TestProcAndSysAreTheKernels(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, place := range []string{"proc", "sys"} {
		b := newBundle(t, program("true"))
		outside := t.TempDir()
		b.must(os.Symlink(outside, b.path(place)))
		b.refuses(fmt.Sprintf(`mount "/%s"`, place), "symbolic link there")
		b.must(os.Remove(b.path(place)))
		b.must(os.Symlink("/tmp", b.path(place)))
		b.refuses(fmt.Sprintf(`mount "/%s"`, place), "symbolic link there")
		if made, err := os.ReadDir(outside); err != nil || len(made) > 0 {
			t.Errorf("outside there is %v, %v", made, err)
		}
	}
	for _, over := range []string{"/proc", "/proc/self/attr", "/proc/sys", "/x/../proc/1"} {
		b := newBundle(t, program("true"), func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: over, Type: "tmpfs", Source: "tmpfs"})
		})
		b.refuses("only a proc file system may be mounted on /proc")
	}
}

// CVE-2025-52881: what is written to the kernel for the container goes through its
// /proc, and must not go anywhere else; here the image has a folder in its place.
func TestASysctlIsNotWrittenToAFileOfTheImage(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("true"), func(s *specs.Spec) {
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		s.Mounts = s.Mounts[1:] // without /proc
	})
	trap := "proc/sys/net/ipv4/ip_forward"
	b.must(os.MkdirAll(filepath.Dir(b.path(trap)), 0o755))
	b.must(os.WriteFile(b.path(trap), nil, 0o666))
	b.succeed("run", "--bundle", b.dir, b.id) // the kernel got it all the same
	if text := b.read(b.path(trap)); text != "" {
		t.Errorf("the file of the image has %q", text)
	}
}

// CVE-2021-43784: a length of 16 bits was too short for what a configuration may have,
// and the rest was read as something else.
func TestLongThingsArriveWhole(t *testing.T) {
	testkit.HostUnchanged(t)
	const long = 70_000
	b := newBundle(t, program("sh", "-c", "echo ${#LONG} $AFTER; busybox wc -l < /proc/self/uid_map"), func(s *specs.Spec) {
		s.Process.Env = append(s.Process.Env, "LONG="+strings.Repeat("x", long), "AFTER=fine")
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		for n := uint32(0); n < 250; n++ { // almost a page of text, which is what the kernel takes: user_namespaces(7)
			id := specs.LinuxIDMapping{ContainerID: n, HostID: idsFrom[0].HostID + 2*n, Size: 1}
			s.Linux.UIDMappings, s.Linux.GIDMappings = append(s.Linux.UIDMappings, id), append(s.Linux.GIDMappings, id)
		}
	})
	b.reachable()
	b.says(fmt.Sprintf("%d fine\n250\n", long))
	b.edit(func(s *specs.Spec) {
		for n := uint32(0); n < 340; n++ {
			s.Linux.UIDMappings = append(s.Linux.UIDMappings, specs.LinuxIDMapping{ContainerID: 1000 + n, HostID: idsFrom[0].HostID + 1000 + n, Size: 1})
		}
	})
	b.refuses("uidMappings")
}

// CVE-2020-14370, CVE-2026-57231: the environment is the configuration's, not that of
// who calls; a name without a value, or a "*", pulls nothing in.
func TestTheCallersEnvironmentStaysOutside(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("busybox", "env"), func(s *specs.Spec) {
		s.Process.Env = []string{"PATH=/bin", "SECRET", "*", "HOME=/"}
	})
	cmd := b.command("run", "--bundle", b.dir, b.id)
	cmd.Env = append(os.Environ(), "SECRET=of the host")
	if r := b.finish(cmd); strings.Contains(r.out, "of the host") || !strings.HasPrefix(r.out, "PATH=/bin\n") {
		t.Errorf("the container has\n%s%s", r.out, r.err)
	}
}

// TIOCSTI types into a terminal as if somebody sat there: a container that has the
// terminal of a shell would run commands in that. It is in a session without one.
func TestTheCallersTerminalCannotBeTypedInto(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("/attacker", "tiocsti"))
	text, err := os.ReadFile(testkit.Build(t, "skiff.example/final/cmd/skiff-oci/testdata/attacker"))
	b.must(err)
	b.install("attacker", string(text))
	s := newScreen(b)
	cmd := b.command("run", "--bundle", b.dir, b.id)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.slave, s.slave, s.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	_ = cmd.Run() // the screen says it
	s.close()
	if shown := s.shown(); strings.Contains(shown, "typed") || strings.Contains(shown, "touch") || !strings.Contains(shown, "operation not permitted") && !strings.Contains(shown, "input/output error") {
		t.Errorf("the terminal shows %q", shown)
	}
}

// CVE-2021-21334: of containers that are made at the same moment, none has another's
// environment.
func TestContainersThatAreMadeAtOnceHaveTheirOwnEnvironment(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	var group sync.WaitGroup
	for n := range 8 {
		own := newBundle(t, program("busybox", "env"), func(s *specs.Spec) { s.Process.Env = []string{"HOME=/", fmt.Sprintf("SECRET%d=%d", n, n)} })
		own.state = b.state
		cmd := own.command("run", "--bundle", own.dir, fmt.Sprint("box", n))
		group.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != fmt.Sprintf("HOME=/\nSECRET%d=%d\n", n, n) {
				t.Errorf("container %d: %v, %s", n, err, out)
			}
		})
	}
	group.Wait()
}

// CVE-2024-45310, CVE-2026-41568, CVE-2026-55686: a folder that is made for the
// container, here its working directory, is not made where links of the image or of a
// volume lead on the host, also if the link is being exchanged.
func TestTheWorkingDirectoryIsMadeInTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	outside, volume := t.TempDir(), t.TempDir()
	b := newBundle(t, program("true"), func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/volume", Type: "bind", Source: volume, Options: []string{"bind"}})
	})
	b.must(os.Symlink(outside, b.path("link")))
	b.must(os.Symlink(outside, filepath.Join(volume, "link")))
	b.must(os.Mkdir(filepath.Join(volume, "folder"), 0o755))
	for _, dir := range []string{"/link/x", "/volume/link/x", "/link/../link/x/y"} {
		b.edit(func(s *specs.Spec) { s.Process.Cwd = dir })
		b.refuses(fmt.Sprintf("change directory to %q: no such file", dir))
	}
	b.edit(func(s *specs.Spec) { s.Process.Cwd = "/volume/folder/a/b/c" })
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, volume+"/link", unix.AT_FDCWD, volume+"/folder", unix.RENAME_EXCHANGE)
			}
		}
	}()
	for range 30 {
		b.do("run", "--bundle", b.dir, b.id) // succeeds or not
	}
	close(end)
	<-ended
	if made, err := os.ReadDir(outside); err != nil || len(made) > 0 {
		t.Errorf("outside there is %v, %v", made, err)
	}
	if made, err := filepath.Glob(volume + "/*/a/b/c"); err != nil || len(made) != 1 {
		t.Errorf("in the volume there is %v, %v", made, err)
	}
	b.wantNothing()
}

// CVE-2026-41579, CVE-2026-47766, CVE-2026-88264: without a mount on /dev its files are
// made in the image, and never where a link in its place leads.
func TestADevOfTheImageThatLeadsOut(t *testing.T) {
	testkit.HostUnchanged(t)
	outside := t.TempDir()
	b := newBundle(t, program("true"), func(s *specs.Spec) { s.Mounts = s.Mounts[:1] }) // /proc alone
	b.must(os.WriteFile(filepath.Join(outside, "ptmx"), []byte("the host's"), 0o600))
	for _, target := range []string{outside, "/proc/self/root" + outside, "/proc/1/cwd"} {
		b.must(os.RemoveAll(b.path("dev")))
		b.must(os.Symlink(target, b.path("dev")))
		b.refuses("/dev")
	}
	if text := b.read(filepath.Join(outside, "ptmx")); text != "the host's" {
		t.Errorf("ptmx has %q", text)
	}
	if entries, err := os.ReadDir(outside); len(entries) != 1 || err != nil {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}
