package layer_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage04-overlay/overlay"
)

// readers are programs of others that make files of an image, and where these
// are then: directories of layers, topmost first.
var readers = map[string]struct {
	needs []string
	read  func(t *testing.T, image string) []string
}{
	"umoci": {[]string{"umoci"}, func(t *testing.T, image string) []string {
		rootfs := t.TempDir() + "/rootfs"
		run(t, "umoci", "raw", "unpack", "--image", image+":latest", rootfs)
		return []string{rootfs}
	}},
	"skopeo and podman": {[]string{"skopeo", "podman"}, func(t *testing.T, image string) []string {
		dir, err := os.MkdirTemp("", "") // podman wants a short name
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		podman := []string{
			"podman", "--root", dir + "/root", "--runroot", dir + "/run", "--tmpdir", dir + "/tmp",
			"--storage-driver=vfs", "--log-level=error",
		}
		run(t, "podman", append(podman[1:], "load", "--quiet", "--input", savedImage(t, image))...)
		return []string{read(t, append(podman, "image", "mount", "image")...)}
	}},
	"skopeo and docker": {[]string{"skopeo", "dockerd", "docker", "containerd"}, dockerLoad},
}

// What a container has changed, packed as a layer, is read by others as it is:
// every sort of file, and every sort of change.
func TestOthersReadWhatIsCommitted(t *testing.T) {
	testkit.HostUnchanged(t)
	base, want := sample(t), []string{}
	if err := errors.Join(
		// The others take an empty attribute for none, as a PAX record is then;
		// and podman, when it copies a layer, leaves out those of links.
		unix.Removexattr(base+"/passwd", "user.empty"), unix.Lremovexattr(base+"/d/link", "trusted.link"),
		os.MkdirAll(base+"/var/cache/sub", 0o755), os.WriteFile(base+"/var/cache/sub/a", nil, 0o644),
	); err != nil {
		t.Fatal(err)
	}
	s, err := overlay.Prepare(t.TempDir(), []string{base})
	if err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() {
		root := mounttest.Mount(t, t.TempDir(), s.Steps)
		change(t, root)
		want = attributes(t, root)[1:]
	})
	image := layout(t, pack(t, base), pack(t, s.Upper))
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			testkit.Need(t, reader.needs...)
			dirs := reader.read(t, image)
			mounttest.Private(t, func() {
				root := dirs[0]
				if len(dirs) > 1 {
					root = mounttest.Mount(t, t.TempDir(), overlay.Stack{Lower: dirs}.Steps)
				}
				same(t, attributes(t, root)[1:], want) // the root's times are not in the hands of all
			})
		})
	}
}

// change does what a container may do to the files of sample.
func change(t *testing.T, root string) {
	t.Helper()
	if err := errors.Join(
		os.Remove(root+"/fifo"),                                             // a file is deleted
		os.RemoveAll(root+"/setgid"),                                        // a directory
		os.RemoveAll(root+"/var/cache"), os.Mkdir(root+"/var/cache", 0o711), // made anew
		os.WriteFile(root+"/var/cache/b", []byte("b"), 0o600),
		os.Remove(root+"/disk"), os.Mkdir(root+"/disk", 0o700), // another type
		os.RemoveAll(root+"/d/e"), os.Symlink("/etc", root+"/d/e"),
		os.WriteFile(root+"/secret", []byte("known"), 0), // another content
		unix.Setxattr(root+"/ping", "user.note", []byte("capable"), 0),
		os.Chown(root+"/null", 77, 78), unix.Chmod(root+"/d", 0o1700),
		os.Rename(root+"/longlink", root+"/var/longlink"),
		os.Link(root+"/var/cache/b", root+"/var/b"), os.Link(root+"/var/longlink", root+"/var/longlink2"),
		unix.Mknod(root+"/var/zero", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))),
		os.WriteFile(root+"/var/new", []byte("setuid"), 0o755), unix.Chmod(root+"/var/new", 0o6755),
	); err != nil {
		t.Fatal(err)
	}
}

// read is what a program prints, less the end of the line.
func read(t *testing.T, argv ...string) string {
	t.Helper()
	return strings.TrimSpace(testkit.Output(t, exec.Command(argv[0], argv[1:]...)))
}

// savedImage makes a file as "docker save" does.
func savedImage(t *testing.T, image string) (file string) {
	t.Helper()
	file = t.TempDir() + "/image.tar"
	run(t, "skopeo", "copy", "--quiet", "oci:"+image+":latest", "docker-archive:"+file+":image:latest")
	return file
}

// dockerLoad has a daemon of its own load the image.
func dockerLoad(t *testing.T, image string) []string {
	dir := t.TempDir()
	socket := "unix://" + dir + "/socket"
	config, err := json.Marshal(map[string]any{
		"data-root": dir + "/data", "exec-root": dir + "/exec", "pidfile": dir + "/pid", "hosts": []string{socket},
		"bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "storage-driver": "overlay2",
	})
	if err := errors.Join(err, os.WriteFile(dir+"/config", config, 0o600)); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("dockerd", "--config-file", dir+"/config")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(daemon.Process.Signal(os.Interrupt), daemon.Wait()); err != nil {
			t.Errorf("dockerd: %v", err)
		}
	})
	for range 300 {
		if exec.Command("docker", "--host", socket, "version").Run() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	run(t, "docker", "--host", socket, "load", "--input", savedImage(t, image))
	format := `{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}`
	return strings.Split(read(t, "docker", "--host", socket, "image", "inspect", "--format", format, "image"), ":")
}

// What overlayfs writes down for itself is no part of a layer: where a file was
// copied up from, that a directory may have such files, and so on; nor are the
// attributes of the other form, which anybody may have set.
func TestOverlaysOwnNotesStayOut(t *testing.T) {
	testkit.HostUnchanged(t)
	base := apply(t, archive(t, "d/", "d/a=1", "d/b=2"))
	s, err := overlay.Prepare(t.TempDir(), []string{base})
	if err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() {
		root := mounttest.Mount(t, t.TempDir(), s.Steps)
		if err := errors.Join(os.Chmod(root+"/d/a", 0o600), unix.Setxattr(root+"/d", "user.overlay.opaque", []byte("y"), 0)); err != nil {
			t.Fatal(err)
		}
	})
	if notes := xattrsOf(t, s.Upper+"/d/a") + xattrsOf(t, s.Upper+"/d"); !strings.Contains(notes, "trusted.overlay.origin") {
		t.Errorf("overlayfs has noted nothing: %q", notes)
	}
	packed := pack(t, s.Upper)
	same(t, entries(t, packed), []string{"./", "d/", "d/a=1"})
	if strings.Contains(string(packed), "overlay") {
		t.Error("there is a note of overlayfs in the layer")
	}
	same(t, entries(t, pack(t, s.Upper, layer.UserXattr())), []string{"./", "d/", "d/.wh..wh..opq", "d/a=1"})
}

// A directory of somebody is packed for an image in which nobody knows him.
func TestLayersOfAnyDirectory(t *testing.T) {
	testkit.Root(t)
	again := apply(t, pack(t, sample(t), layer.Owner(0, 5), layer.FixedTime(time.Unix(7, 0))))
	for _, line := range attributes(t, again) {
		if !strings.Contains(line, " owner 0:5 ") || !strings.Contains(line, " time 7.000000000") {
			t.Errorf("%s: want owner 0:5 and time 7", line)
		}
	}
}
