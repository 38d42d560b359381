package main

// This file compares pulls: an image of Debian comes from docker-registry on
// loopback and is unpacked, by skiff, by skopeo and umoci, by podman, and by
// containerd. Each round has a new file system, ext4 in a file, for what is
// pulled: where ext4 has just deleted thousands of files it looks for free
// inodes for longer than creating files takes. What has to be read was read
// before, in the first round, which does not count.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"skiff.example/course/bench/taken"
)

const pullTitle = "pull and unpack of a Debian image"

// puller is a program that takes part.
type puller struct {
	name string
	// commands pull ref into the folder dir.
	commands func(ref, dir string) [][]string
	// daemon starts what does the work, nil: nothing; its processor time and its
	// memory count.
	daemon func(dir string) (*exec.Cmd, error)
	alone  bool // it unpacks nothing: it shows what is the least
}

// pullers are all that take part; ours is the last.
func pullers(skiff string, blobs []string) []puller {
	return []puller{
		{name: "gunzip only", alone: true, commands: func(_, _ string) [][]string {
			return [][]string{append([]string{"/proc/self/exe", gunzipCommand}, blobs...)}
		}},
		{name: "skopeo + umoci", commands: func(ref, dir string) [][]string {
			return [][]string{
				{"skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://" + ref, "oci:" + dir + "/layout:1"},
				{"umoci", "--log=error", "unpack", "--image", dir + "/layout:1", dir + "/bundle"},
			}
		}},
		{name: "podman", commands: func(ref, dir string) [][]string {
			return [][]string{{
				"podman", "--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "overlay",
				"pull", "--quiet", "--tls-verify=false", ref,
			}}
		}},
		{name: "containerd", daemon: containerd, commands: func(ref, dir string) [][]string {
			return [][]string{{"ctr", "--address", dir + "/socket", "images", "pull", "--plain-http", ref}}
		}},
		{name: "skiff", commands: func(ref, dir string) [][]string {
			return [][]string{{skiff, "--root", dir + "/skiff", "--state", dir + "/state", "pull", "--quiet", ref}}
		}},
	}
}

// comparePulls has them all pull the image, in turn, and prints the table.
func comparePulls(ctx context.Context, b *bundle, skiff string, rounds int) (err error) {
	if skiff, err = filepath.Abs(skiff); err != nil {
		return err
	}
	disk, err := os.MkdirTemp("", "skiff-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(disk)) }()
	image, err := newDebian(ctx, disk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.stop()) }()
	all := pullers(skiff, image.blobs)
	samples := make([][]taken.Sample, len(all))
	for round := range rounds + 1 {
		for _, i := range rand.Perm(len(all)) {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			s, err := all[i].once(b, image, disk)
			if err != nil {
				return fmt.Errorf("%s: %w", all[i].name, err)
			}
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	if err := writePulls(os.Stdout, image, all, samples); err != nil {
		return err
	}
	dir, unmount, err := newDisk(disk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	if s, said, err := b.start(taken.Task{Commands: all[len(all)-1].commands(image.ref, dir)}); err != nil || s.Status != 0 {
		return errors.Join(fmt.Errorf("pull: %s", said), err)
	}
	return compareStarts(b, skiff, image.ref, dir, 4*rounds)
}

// once pulls once, into a file system of its own.
func (p puller) once(b *bundle, image *debian, disk string) (s taken.Sample, err error) {
	dir, unmount, err := newDisk(disk)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	var before usage
	var daemon *exec.Cmd
	if p.daemon != nil {
		if daemon, err = p.daemon(dir); err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, end(daemon)) }()
		if before, err = usageOf(daemon.Process.Pid); err != nil {
			return s, err
		}
	}
	unix.Sync() // what others have written is no burden to this one
	s, said, err := b.start(taken.Task{Commands: p.commands(image.ref, dir)})
	if err == nil && s.Status != 0 {
		err = fmt.Errorf("exit status %d: %s", s.Status, said)
	}
	if err == nil && daemon != nil {
		after, readErr := usageOf(daemon.Process.Pid)
		s.CPU += after.cpu - before.cpu
		s.Peak, err = max(s.Peak, after.peak), readErr
	}
	if err == nil && !p.alone {
		err = prove(dir)
	}
	return s, err
}

// prove makes sure that the image's files are there.
func prove(dir string) error {
	out, err := exec.Command("find", dir, "-path", "*/usr/lib/os-release", "-size", "+0").Output()
	if err == nil && len(bytes.TrimSpace(out)) == 0 {
		err = errors.New("the image was not unpacked: there is no usr/lib/os-release")
	}
	return err
}

// newDisk mounts a new file system, which is in a file below disk.
func newDisk(disk string) (dir string, unmount func() error, err error) {
	file := filepath.Join(disk, "ext4")
	dir = filepath.Join(bundleDir, "disk")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return "", nil, err
	}
	if err := os.Truncate(file, 8<<30); err != nil {
		return "", nil, err
	}
	for _, command := range [][]string{{"mke2fs", "-q", "-F", "-t", "ext4", file}, {"mount", "-o", "loop", file, dir}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", nil, errors.Join(fmt.Errorf("%q: %w: %s", command, err, bytes.TrimSpace(out)), os.Remove(file))
		}
	}
	return dir, func() error {
		// podman mounts its folder onto itself.
		out, err := exec.Command("umount", "--recursive", dir).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("umount %q: %w: %s", dir, err, out)
		}
		return errors.Join(err, os.Remove(file))
	}, nil
}

// writePulls prints a line for each that takes part, beside the fastest of the
// others.
func writePulls(w io.Writer, image *debian, all []puller, samples [][]taken.Sample) error {
	var results []medians
	for _, s := range samples {
		results = append(results, mediansOf(s))
	}
	ours := len(all) - 1
	fastest := 1 // 0 unpacks nothing
	for i := range results[:ours] {
		if !all[i].alone && results[i].wall < results[fastest].wall {
			fastest = i
		}
	}
	var t bytes.Buffer
	fmt.Fprintf(&t, "%s, %d MB in %d layers, %d MB compressed; %d runs each, in turn; medians\n\n",
		pullTitle, image.size/1e6, len(image.blobs), image.compressed/1e6, len(samples[0]))
	fmt.Fprintf(&t, "%-16s%8s%10s%9s%9s\n", "", "wall ms", "× skiff", "CPU ms", "peak MB")
	for i, m := range results {
		fmt.Fprintf(&t, "%-16s%8.0f%10.2f%9.0f%9.1f\n", all[i].name, m.wall, m.wall/results[ours].wall, m.cpu, m.peak)
	}
	verdict := func(ok bool) string {
		if ok {
			return "ok"
		}
		return "not ok"
	}
	ratio := results[ours].wall / results[fastest].wall
	fmt.Fprintf(&t, "\n%-7s skiff takes %.2f × %s; the reach is at most 0.50\n", verdict(ratio <= 0.5), ratio, all[fastest].name)
	fmt.Fprintf(&t, "%-7s its memory is %.1f MB; the reach is at most 100\n\n", verdict(results[ours].peak <= 100), results[ours].peak)
	_, err := w.Write(t.Bytes())
	return err
}

// compareStarts starts a container of an image, once while there is no other and
// once while there are ninety-nine.
func compareStarts(b *bundle, skiff, ref, dir string, rounds int) (err error) {
	run := func(program ...string) []string {
		return slices.Concat([]string{skiff, "--root", dir + "/skiff", "--state", dir + "/state", "run", "--network", "none", ref}, program)
	}
	var results []medians
	var others []*exec.Cmd
	defer func() {
		for _, c := range others {
			err = errors.Join(err, end(c))
		}
	}()
	for _, many := range []int{0, 99} {
		for len(others) < many {
			c := exec.Command(skiff, run("sh", "-c", "echo up; exec sleep 1000")[1:]...)
			out, err := c.StdoutPipe()
			if err != nil {
				return err
			}
			if err := c.Start(); err != nil {
				return err
			}
			others = append(others, c)
			if _, err := out.Read(make([]byte, 1)); err != nil {
				return fmt.Errorf("container %d: %w", len(others), err)
			}
		}
		var samples []taken.Sample
		for range rounds {
			s, said, err := b.start(taken.Task{Commands: [][]string{run("true")}})
			if err != nil || s.Status != 0 {
				return fmt.Errorf("exit status %d: %w: %s", s.Status, err, said)
			}
			samples = append(samples, s)
		}
		results = append(results, mediansOf(samples))
	}
	fmt.Printf("a container of it, %d runs: the first takes %.1f ms, the hundredth %.1f ms (CPU %.1f and %.1f ms)\n\n",
		rounds, results[0].wall, results[1].wall, results[0].cpu, results[1].cpu)
	return nil
}
