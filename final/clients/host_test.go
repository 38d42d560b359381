package clients

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/registry"
)

// What is below the clients: namespaces and control groups, and a registry
// that has the image.

// TestMain gives the tests a mount and a network namespace of their own.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 {
		if err := ownMounts(); err != nil {
			fmt.Fprintln(os.Stderr, "clients:", err)
			os.Exit(1)
		}
	}
	os.Exit(testkit.InNewNetwork(m))
}

// folder is where clients keep their things.
const folder = "/run/clients"

// ownMounts moves this thread, which is the one that starts the process in the
// new network namespace, into a new mount namespace. There /run is empty, and
// /etc and /var can be written to and are not changed.
func ownMounts() error {
	if _, err := os.Stat(folder); err == nil {
		return nil // this is the process that was started
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make all mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mount a tmpfs on /run: %w", err)
	}
	for _, dir := range []string{"/etc", "/var"} {
		upper, work := filepath.Join("/run/upper", dir), filepath.Join("/run/work", dir)
		if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
			return err
		}
		if err := unix.Mount("overlay", dir, "overlay", 0, "lowerdir="+dir+",upperdir="+upper+",workdir="+work); err != nil {
			return fmt.Errorf("mount an overlay on %q: %w", dir, err)
		}
	}
	// Runtimes make the folder of their containers, and leave it.
	return errors.Join(os.Mkdir(stateFolder(), 0o700), os.Mkdir(folder, 0o755))
}

// applets are the programs in the image, all of them busybox.
var applets = strings.Fields("awk cat chown dd df echo env grep head hostname id linux64 ls mkdir mount ps pwd readlink sh sleep stat stty tail touch true tty umask wc")

// busybox is the program, which is static.
func (c *client) busybox() string {
	c.Helper()
	path, err := exec.LookPath("busybox")
	c.must(err)
	return c.read(path)
}

// serve runs a registry until the end of the test, with an image of busybox.
func serve(c *client) (reference string) {
	c.Helper()
	files := []assemble.File{
		assemble.Regular("bin/busybox", c.busybox(), 0o755),
		assemble.Regular("etc/passwd", "root:x:0:0::/root:/bin/sh\nguest:x:1000:1001::/tmp:/bin/sh\n", 0o644),
		assemble.Regular("etc/group", "root:x:0:\nguest:x:1001:\nfriends:x:1002:\n", 0o644),
		assemble.Regular("text", "no program\n", 0o644),
		assemble.Directory("tmp"),
	}
	for _, name := range applets {
		files = append(files, assemble.Symlink("bin/"+name, "busybox"))
	}
	image, err := assemble.Image([]assemble.Layer{assemble.Files(files...)}, assemble.Options{
		Config: ocispec.ImageConfig{Cmd: []string{"echo", "the image's command"}, Env: []string{"PATH=/bin"}},
	})
	c.must(err)
	host, stop, err := registry.Serve(context.Background(), "127.0.0.1:0")
	c.must(err)
	c.Cleanup(func() {
		if err := stop(); err != nil {
			c.Error(err)
		}
	})
	reference = host + "/box:1"
	c.must(registry.Push(c.Context(), image, reference))
	return reference
}

// keepsDevices asserts at the end of the test that these devices of the host
// have the owner and mode that they have now: a container's input or output may
// be one of them, and is not the container's to change.
func (c *client) keepsDevices(paths ...string) {
	c.Helper()
	for _, path := range paths {
		var before, after unix.Stat_t
		c.must(unix.Stat(path, &before))
		c.Cleanup(func() {
			c.must(unix.Stat(path, &after))
			if before.Mode != after.Mode || before.Uid != after.Uid || before.Gid != after.Gid {
				c.Errorf("%s has mode %#o, owner %d:%d", path, after.Mode, after.Uid, after.Gid)
			}
		})
	}
}

// groups lists the folders of a control group in all hierarchies, and of the
// groups in it, the innermost first.
func groups(t testing.TB, name string) (paths []string) {
	t.Helper()
	places, err := filepath.Glob("/sys/fs/cgroup/*" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range append(places, "/sys/fs/cgroup"+name) {
		err := filepath.WalkDir(place, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				paths = append(paths, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Reverse(paths)
	return paths
}

// removeGroups removes the client's control group, in which nothing may be
// left but groups that clients make for themselves and keep.
func (c *client) removeGroups() {
	c.Helper()
	for _, path := range groups(c, c.group) {
		if base := filepath.Base(path); base != filepath.Base(c.group) && base != "conmon" {
			c.Errorf("control group left behind: %s", path)
		}
		if !errors.Is(os.Remove(path), unix.EBUSY) {
			continue
		}
		c.Errorf("processes left behind in control group %s", path)
		c.emptyGroup(path)
		c.eventually("no process is in "+path, func() bool { return !errors.Is(os.Remove(path), unix.EBUSY) })
	}
}

// emptyGroup thaws a group, since nothing frozen can die, and kills what is in it.
func (c *client) emptyGroup(path string) {
	c.Helper()
	_ = os.WriteFile(filepath.Join(path, "freezer.state"), []byte("THAWED"), 0) // there if v1 and the freezer
	_ = os.WriteFile(filepath.Join(path, "cgroup.freeze"), []byte("0"), 0)      // there if v2
	for word := range strings.FieldsSeq(c.read(filepath.Join(path, "cgroup.procs"))) {
		pid, err := strconv.Atoi(word)
		c.must(err)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			c.Errorf("kill %d: %v", pid, err)
		}
	}
}

// groupFiles reads a file of the control groups that a process is in: v1 is its
// name with cgroup v1, where a controller's hierarchy has it, v2 with cgroup v2.
// A machine may have both.
func (c *client) groupFiles(pid int, controller, v1, v2 string) (texts []string) {
	c.Helper()
	for line := range strings.Lines(c.read(fmt.Sprintf("/proc/%d/cgroup", pid))) {
		field := strings.SplitN(strings.TrimSpace(line), ":", 3)
		var places []string
		if slices.Contains(strings.Split(field[1], ","), controller) {
			places = []string{filepath.Join("/sys/fs/cgroup", controller, field[2], v1)}
		} else if field[1] == "" {
			places = []string{filepath.Join("/sys/fs/cgroup", field[2], v2), filepath.Join("/sys/fs/cgroup/unified", field[2], v2)}
		}
		for _, place := range places {
			if text, err := os.ReadFile(place); err == nil {
				texts = append(texts, strings.TrimSpace(string(text)))
			}
		}
	}
	if len(texts) == 0 {
		c.Fatalf("process %d is in no group with %s or %s", pid, v1, v2)
	}
	return texts
}

// frozen tells whether a process is stopped by one of its groups.
func (c *client) frozen(pid int) bool {
	c.Helper()
	return slices.ContainsFunc(c.groupFiles(pid, "freezer", "freezer.state", "cgroup.events"), func(state string) bool {
		return state == "FROZEN" || strings.Contains(state, "frozen 1")
	})
}

// memoryLimit is that of the control group of a process, in bytes.
func (c *client) memoryLimit(pid int) string {
	c.Helper()
	return c.groupFiles(pid, "memory", "memory.limit_in_bytes", "memory.max")[0]
}
