package main

// This file makes the bundle and has the runtimes run it.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"skiff.example/stage01-chroot/hint"
)

// bundleDir is on the tmpfs that enterWorld has mounted.
const bundleDir = "/run/bench-bundle"

// bundle is the bundle, and where its containers' input and output are.
type bundle struct {
	files [2]*os.File // empty input; output and errors
	count int         // of the containers so far; part of their ids
}

// newBundle makes the bundle and proves that every runtime really runs it,
// since a runtime that does nothing and reports success would win.
func newBundle(ctx context.Context, runtimes []candidate) (*bundle, error) {
	if err := writeRoot(filepath.Join(bundleDir, "rootfs/bin")); err != nil {
		return nil, err
	}
	spec := exec.CommandContext(ctx, runtimes[runc].path, "spec")
	spec.Dir = bundleDir
	if out, err := spec.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("runc spec: %w: %s", err, bytes.TrimSpace(out))
	}
	b := &bundle{}
	for i, name := range []string{"input", "output"} {
		file, err := os.OpenFile(filepath.Join(bundleDir, name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		b.files[i] = file
	}
	for _, r := range runtimes {
		if err := b.prove(r); err != nil {
			return nil, err
		}
	}
	return b, setProgram("/bin/true")
}

// writeRoot fills the containers' root file system with one static program
// under three names.
func writeRoot(bin string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return hint.Add(fmt.Errorf("find a static program for the container: %w", err), "make deps")
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bin, "true"), program, 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.Link(filepath.Join(bin, "true"), filepath.Join(bin, "sh")),
		os.Link(filepath.Join(bin, "true"), filepath.Join(bin, "hostname")))
}

// setProgram changes the program of the bundle, and turns its terminal off.
func setProgram(args ...string) error {
	file := filepath.Join(bundleDir, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}
	var process map[string]any
	if err := json.Unmarshal(config["process"], &process); err != nil {
		return fmt.Errorf("read the process of %q: %w", file, err)
	}
	process["args"], process["terminal"] = args, false
	if config["process"], err = json.Marshal(process); err != nil {
		return err
	}
	if data, err = json.MarshalIndent(config, "", "\t"); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// prove runs a container whose program tells where it is.
func (b *bundle) prove(r candidate) error {
	if err := setProgram("/bin/sh", "-c", "echo process $$ on $(hostname); exit 7"); err != nil {
		return err
	}
	s, said, err := b.start(r)
	if err != nil {
		return err
	}
	if want := "process 1 on runc"; said != want || s.Status != 7 {
		return fmt.Errorf("%s: the container printed %q with exit status %d, want %q with 7", r.name, said, s.Status, want)
	}
	return nil
}

// run runs the container once. It has to succeed and to print nothing.
func (b *bundle) run(c candidate) (sample, error) {
	s, said, err := b.start(c)
	if err == nil && (s.Status != 0 || said != "") {
		err = fmt.Errorf("%s: exit status %d: %s", c.name, s.Status, said)
	}
	return s, err
}

// start measures one run, and returns what it printed, too. A run that
// failed has its container removed.
func (b *bundle) start(c candidate) (sample, string, error) {
	b.count++
	id := fmt.Sprintf("bench-%d-%d", os.Getpid(), b.count)
	if err := b.files[1].Truncate(0); err != nil {
		return sample{}, "", err
	}
	// Files for input and output, since a runtime may change the owner of
	// what it finds there: /dev/null belongs to the machine.
	cmd := exec.Command("/proc/self/exe", append([]string{measureCommand}, c.command(id)...)...)
	cmd.Dir, cmd.Stdin, cmd.Stderr = bundleDir, b.files[0], b.files[1]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us, not for the run under way
	out, err := cmd.Output()
	var s sample
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	said, readErr := os.ReadFile(b.files[1].Name())
	said = bytes.TrimSpace(said)
	if err = errors.Join(err, readErr); err != nil {
		err = fmt.Errorf("%s: %w: %s", c.name, err, said)
	}
	if err != nil || s.Status != 0 {
		err = errors.Join(err, c.remove(id))
	}
	return s, string(said), err
}
