package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage04-overlay/overlay"
)

// The tests write layers, and what they expect, as lists of lines:
//
//	usr/                    a directory
//	usr/motd=hello          a regular file
//	bin -> usr/bin          a symbolic link
//	usr/sh == usr/dash      a hard link
//	usr/.wh.motd            a whiteout

// archive makes a layer of such lines.
func archive(t testing.TB, lines ...string) []byte {
	t.Helper()
	var headers []tar.Header
	for _, line := range lines {
		headers = append(headers, header(line))
	}
	return archiveOf(t, headers...)
}

// header reads one line. The content of a regular file is put in Linkname.
func header(line string) tar.Header {
	if name, target, ok := strings.Cut(line, " -> "); ok {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
	}
	if name, target, ok := strings.Cut(line, " == "); ok {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}
	}
	if strings.HasSuffix(line, "/") {
		return tar.Header{Typeflag: tar.TypeDir, Name: line, Mode: 0o755}
	}
	name, content, _ := strings.Cut(line, "=")
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Linkname: content}
}

// archiveOf makes a layer of headers.
func archiveOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// apply unpacks a layer that has to be fine into a new directory.
func apply(t testing.TB, archive []byte, lower ...string) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := layer.Apply(dir, bytes.NewReader(archive), layer.Options{Lower: lower}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stack unpacks layers, the lowest first, and returns their directories as
// lower directories of an overlay: topmost first.
func stack(t testing.TB, archives ...[]byte) (lower []string) {
	t.Helper()
	for _, a := range archives {
		lower = append([]string{apply(t, a, lower...)}, lower...)
	}
	return lower
}

// merged mounts the stack and lists what a container would see.
func merged(t *testing.T, lower []string) (lines []string) {
	t.Helper()
	s, err := overlay.Prepare(t.TempDir(), lower)
	if err != nil {
		t.Fatal(err)
	}
	target := t.TempDir()
	mounttest.Private(t, func() {
		lines = list(t, mounttest.Mount(t, target, s.Steps))
	})
	return lines
}

// list lists a directory in the tests' notation, sorted. What is no file in it
// (the readdir of a stray whiteout names one) is listed as what it is.
func list(t testing.TB, root string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if path == root && err == nil {
			return nil
		}
		name, _ := filepath.Rel(root, path)
		var st unix.Stat_t
		if err := errors.Join(err, unix.Lstat(path, &st)); err != nil {
			lines = append(lines, name+" cannot be read")
			return nil
		}
		line, err := describe(path, &st)
		lines = append(lines, name+line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return lines
}

// describe is what stands behind a file's name in the notation.
func describe(path string, st *unix.Stat_t) (string, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "/", nil
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		return " -> " + target, err
	case unix.S_IFREG:
		content, err := os.ReadFile(path)
		if len(content) > 0 {
			return "=" + string(content), err
		}
		return "", err
	}
	return fmt.Sprintf(" is of mode %#o, device %#x", st.Mode, st.Rdev), nil
}

// same compares two lists.
func same(t testing.TB, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
