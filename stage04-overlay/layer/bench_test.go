package layer_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/layer"
)

// typical is a layer of 3,000 files in 150 directories, 8 KiB each: what most
// packages look like.
func typical(b *testing.B) []byte {
	var lines []string
	content := strings.Repeat("skiff", 8<<10/5)
	for dir := range 150 {
		lines = append(lines, fmt.Sprintf("usr/lib/package%d/", dir))
		for file := range 20 {
			lines = append(lines, fmt.Sprintf("usr/lib/package%d/file%d=%s", dir, file, content))
		}
	}
	return archive(b, lines...)
}

// The benchmarks unpack a layer of the usual kind, or, with -archive FILE, any
// other, as we do and as others do, in turn, and print what our time is compared
// with theirs:
//
//	mmdebstrap --variant=apt --include=build-essential bookworm /tmp/debian.tar
//	go test -run=- -bench=Unpack -benchtime=5x ./layer -archive /tmp/debian.tar
//
// They do so in a tmpfs. On ext4, the time to make a file depends on how many
// were removed shortly before.
var archiveFile = flag.String("archive", "", "the benchmarks unpack the layer in `FILE`")

// unpackers are ways to unpack an archive into a directory.
var unpackers = []struct {
	name   string
	unpack func(b *testing.B, archive, dir string)
}{
	{"skiff", func(b *testing.B, archive, dir string) {
		f, err := os.Open(archive)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		if _, err := layer.Apply(dir, f, layer.Options{}); err != nil {
			b.Fatal(err)
		}
	}},
	{"tar", func(b *testing.B, archive, dir string) {
		run(b, "tar", "-C", dir, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", archive)
	}},
	{"umoci", func(b *testing.B, archive, dir string) {
		run(b, "umoci", "raw", "unpack", "--image", archive+".image:latest", dir+"/rootfs")
	}},
}

func BenchmarkUnpack(b *testing.B) {
	testkit.Root(b)
	testkit.Need(b, "tar", "umoci")
	dir := b.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		b.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	content := typical(b)
	if *archiveFile != "" {
		var err error
		if content, err = os.ReadFile(*archiveFile); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(dir+"/tar", content, 0o600), os.CopyFS(dir+"/tar.image", os.DirFS(layout(b, content)))); err != nil {
		b.Fatal(err)
	}
	times := make([][]time.Duration, len(unpackers))
	for b.Loop() {
		for i, u := range unpackers {
			if err := os.Mkdir(dir+"/out", 0o755); err != nil {
				b.Fatal(err)
			}
			start := time.Now()
			u.unpack(b, dir+"/tar", dir+"/out")
			times[i] = append(times[i], time.Since(start))
			if err := os.RemoveAll(dir + "/out"); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	ours := median(times[0])
	b.ReportMetric(float64(len(content))/1e6/ours.Seconds(), "MB/s")
	for i, u := range unpackers[1:] {
		b.ReportMetric(ours.Seconds()/median(times[i+1]).Seconds(), "×"+u.name)
	}
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}
