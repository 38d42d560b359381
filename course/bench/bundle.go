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

	"skiff.example/course/bench/taken"
	"skiff.example/stage01-chroot/hint"
)

// measure is the program that starts what is measured, see package taken; it is on the
// tmpfs, too.
const measure = "/run/bench-measure"

// bundleDir is on the tmpfs that enterWorld has mounted.
const (
	bundleDir  = "/run/bench-bundle"
	configFile = bundleDir + "/config.json"
)

// bundle is the bundle, and where its containers' input and output are.
type bundle struct {
	files [2]*os.File // empty input; output and errors
	count int         // of the containers so far; part of their ids
	inC   *inC        // nil if it takes no part
}

// newBundle makes the bundle and proves that every runtime really runs it,
// since a runtime that does nothing and reports success would win.
func newBundle(ctx context.Context, runtimes []candidate) (*bundle, error) {
	for program, source := range map[string]string{measure: "skiff.example/course/cmd/measure", empty.path: "skiff.example/course/cmd/empty"} {
		build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", program, source)
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %q: %w: %s", source, err, bytes.TrimSpace(out))
		}
	}
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
	config, err := os.ReadFile(configFile)
	if err != nil {
		return nil, err
	}
	for _, r := range runtimes {
		if err := b.prove(r); err != nil {
			return nil, err
		}
	}
	b.inC, err = b.newInC(config, runtimes[ours])
	switch {
	case errors.Is(err, errNoPart):
		fmt.Printf("%v\n\n", err)
		return b, nil
	case err != nil:
		return nil, err
	}
	return b, b.prove(staticC)
}

// writeRoot fills the containers' root file system with one static program
// under four names.
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
		os.Link(filepath.Join(bin, "true"), filepath.Join(bin, "sleep")),
		os.Link(filepath.Join(bin, "true"), filepath.Join(bin, "hostname")))
}

// setProgram changes the program of the bundle, and turns its terminal off.
func (b *bundle) setProgram(args ...string) error {
	data, err := os.ReadFile(configFile)
	if err != nil {
		return err
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("read %q: %w", configFile, err)
	}
	var process map[string]any
	if err := json.Unmarshal(config["process"], &process); err != nil {
		return fmt.Errorf("read the process of %q: %w", configFile, err)
	}
	process["args"], process["terminal"] = args, false
	if config["process"], err = json.Marshal(process); err != nil {
		return err
	}
	if data, err = json.MarshalIndent(config, "", "\t"); err != nil {
		return err
	}
	if err := os.WriteFile(configFile, data, 0o600); err != nil || b.inC == nil {
		return err
	}
	return b.inC.build(args)
}

// prove runs a container whose program tells where it is.
func (b *bundle) prove(r candidate) error {
	if err := b.setProgram("/bin/sh", "-c", "echo process $$ on $(hostname); exit 7"); err != nil {
		return err
	}
	id := b.newID()
	s, said, err := b.start(taken.Task{Commands: [][]string{r.command("run", id)}})
	if err == nil && (said != "process 1 on runc" || s.Status != 7) {
		err = fmt.Errorf("the container printed %q with exit status %d, want %q with 7", said, s.Status, "process 1 on runc")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", r.name, err), r.remove(id))
	}
	return nil
}

// newID is the id of a container that does not exist yet.
func (b *bundle) newID() string {
	b.count++
	return fmt.Sprintf("bench-%d-%d", os.Getpid(), b.count)
}

// run does a task once. It has to succeed and, unless it is to print something,
// to print nothing.
func (b *bundle) run(c candidate, t taken.Task, prints bool) (taken.Sample, error) {
	s, said, err := b.start(t)
	if err == nil && (s.Status != 0 || (said != "") != prints) {
		err = fmt.Errorf("exit status %d, printed %q", s.Status, said)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", c.name, err)
	}
	return s, err
}

// start measures a task, and returns what it printed, too.
func (b *bundle) start(t taken.Task) (taken.Sample, string, error) {
	if err := b.files[1].Truncate(0); err != nil {
		return taken.Sample{}, "", err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return taken.Sample{}, "", err
	}
	// Files for input and output, since a runtime may change the owner of
	// what it finds there: /dev/null belongs to the machine.
	cmd := exec.Command(measure, string(text))
	cmd.Dir, cmd.Stdin, cmd.Stderr = bundleDir, b.files[0], b.files[1]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us, not for the run under way
	out, err := cmd.Output()
	var s taken.Sample
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	said, readErr := os.ReadFile(b.files[1].Name())
	said = bytes.TrimSpace(said)
	if err = errors.Join(err, readErr); err != nil {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return s, string(said), err
}
