package main

// This file makes the image that is pulled: Debian's packages, by mmdebstrap, cut
// into eight layers, which umoci compresses and skopeo brings to docker-registry.

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"skiff.example/stage01-chroot/hint"
)

const (
	layers   = 8
	packages = "python3,git,curl,ca-certificates,gnupg,vim-tiny,openssh-client,iproute2,less,file"
)

// debian is the image in its registry.
type debian struct {
	ref              string
	blobs            []string // files, compressed
	size, compressed int64    // in bytes
	stop             func() error
}

// newDebian makes the image below dir and serves it.
func newDebian(ctx context.Context, dir string) (*debian, error) {
	for _, program := range []string{"mmdebstrap", "umoci", "skopeo", "docker-registry", "podman", "containerd", "ctr", "mke2fs"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, hint.Add(err, "make deps installs it")
		}
	}
	fmt.Fprintln(os.Stderr, "making an image of Debian packages, which takes a minute")
	archive, layout := filepath.Join(dir, "debian.tar"), filepath.Join(dir, "layout")
	d := &debian{}
	for _, step := range []func() error{
		func() error {
			return tool(ctx, dir, "mmdebstrap", "--quiet", "--variant=minbase", "--include="+packages, "bookworm", archive)
		},
		func() error { return cut(archive, dir) },
		func() error { return tool(ctx, dir, "umoci", "init", "--layout", layout) },
		func() error { return tool(ctx, dir, "umoci", "new", "--image", layout+":1") },
		func() error { return pack(ctx, dir, layout) },
		func() error {
			return tool(ctx, dir, "umoci", "config", "--image", layout+":1", "--config.env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
		},
		func() error { return d.measure(layout) },
		func() error { return d.serve(dir) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := tool(ctx, dir, "skopeo", "copy", "--quiet", "--dest-tls-verify=false", "oci:"+layout+":1", "docker://"+d.ref); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// tool runs a program with dir for its temporary files.
func tool(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// layerFile is the tar file of a layer, which are counted from 0.
func layerFile(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("layer%d.tar", i)) }

// cut cuts the archive into layers of about the same size. Devices stay out.
func cut(archive, dir string) error {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	from := tar.NewReader(in)
	for i := range layers {
		if err := cutLayer(layerFile(dir, i), from, info.Size()/layers, i == layers-1); err != nil {
			return fmt.Errorf("cut %q: %w", archive, err)
		}
	}
	return os.Remove(archive)
}

// cutLayer takes entries until there are so many bytes or, for the last, no more.
func cutLayer(path string, from *tar.Reader, size int64, last bool) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	to := tar.NewWriter(out)
	for n := int64(0); last || n < size; {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(h.Name, "./dev/") {
			continue
		}
		if err := to.WriteHeader(h); err != nil {
			return err
		}
		copied, err := io.Copy(to, from)
		if err != nil {
			return err
		}
		n += copied + 512
	}
	return errors.Join(to.Close(), out.Close())
}

// pack adds the layers to the image.
func pack(ctx context.Context, dir, layout string) error {
	for i := range layers {
		file := layerFile(dir, i)
		if err := tool(ctx, dir, "umoci", "raw", "add-layer", "--image", layout+":1", file); err != nil {
			return err
		}
	}
	return nil
}

// measure finds the image's blobs, and how large it is.
func (d *debian) measure(layout string) error {
	var index struct {
		Manifests []struct{ Digest string }
	}
	var manifest struct {
		Layers []struct {
			Digest string
			Size   int64
		}
	}
	blob := func(digest string) string {
		return filepath.Join(layout, "blobs", strings.Replace(digest, ":", "/", 1))
	}
	if err := readJSON(filepath.Join(layout, "index.json"), &index); err != nil {
		return err
	}
	if len(index.Manifests) != 1 {
		return fmt.Errorf("%q has %d images", layout, len(index.Manifests))
	}
	if err := readJSON(blob(index.Manifests[0].Digest), &manifest); err != nil {
		return err
	}
	for i, l := range manifest.Layers {
		info, err := os.Stat(layerFile(filepath.Dir(layout), i))
		if err != nil {
			return err
		}
		d.blobs = append(d.blobs, blob(l.Digest))
		d.compressed += l.Size
		d.size += info.Size()
		if err := os.Remove(layerFile(filepath.Dir(layout), i)); err != nil {
			return err
		}
	}
	return nil
}

func readJSON(path string, value any) error {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, value)
	}
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	return nil
}

// serve starts a registry on loopback, whose files are below dir.
func (d *debian) serve(dir string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		return err
	}
	host := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	config := filepath.Join(dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "registry"), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command("docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		return err
	}
	d.ref, d.stop = host+"/debian:12", func() error { return end(cmd) }
	err = until("docker-registry", func() bool {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	if err != nil {
		return errors.Join(err, d.stop())
	}
	return nil
}

// until waits until something is up.
func until(what string, up func() bool) error {
	for limit := time.Now().Add(10 * time.Second); !up(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			return fmt.Errorf("%s does not answer after 10 s", what)
		}
	}
	return nil
}

// gunzipCommand is the command by which this program calls itself to unpack files
// as skiff does, with klauspost/compress, and nothing else.
const gunzipCommand = "gunzip"

func gunzip(files []string) error {
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		z, err := gzip.NewReader(f)
		if err == nil {
			_, err = io.Copy(io.Discard, z)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("gunzip %q: %w", path, err)
		}
	}
	return nil
}
