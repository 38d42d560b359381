package vm

// This file runs tests of this tree in the machine, from their source to the
// report.

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"skiff.example/course/vm/wire"
)

// memory of the machine that tests run in, MiB. Its files take about 200.
const memory = 1536

// Options say which tests run, and what is shown of them.
type Options struct {
	Root     string        // of the tree
	Cache    string        // where the kernel is kept
	Packages []Package     // whose tests to run
	Run      string        // only these tests, as for go test -run; "" is all
	Verbose  bool          // show all that the tests and the kernel say
	Timeout  time.Duration // for one package; twice as much for the machine
	Out      io.Writer     // where the report goes
}

// ErrFailed is the error for tests that ran and failed; the report says which.
var ErrFailed = errors.New("tests failed in the virtual machine")

// Test builds tests, runs them in a virtual machine and reports.
func Test(ctx context.Context, o Options) error {
	kernel, err := FindKernel(ctx, o.Cache, Modules)
	if err != nil {
		return err
	}
	out, err := os.MkdirTemp("", "skiff-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	m := &Machine{Kernel: kernel, Memory: memory, Console: io.Discard}
	if o.Verbose {
		m.Console = o.Out
	}
	if err := o.fill(ctx, m, out); err != nil {
		return err
	}
	all := time.Duration(len(m.Jobs)+1) * o.Timeout
	ctx, stop := context.WithTimeoutCause(ctx, all, fmt.Errorf("%s have passed (-timeout is for each package)", all))
	defer stop()
	r := &reporter{ctx: ctx, Options: o}
	if err := m.Run(ctx, r.take); err != nil {
		return err
	}
	if r.failed {
		return ErrFailed
	}
	return nil
}

// fill builds what runs in the machine; out is a folder for it.
func (o Options) fill(ctx context.Context, m *Machine, out string) error {
	b, err := newBuilder(o.Root, out, programs)
	if err != nil {
		return err
	}
	if m.Guest, err = b.guest(ctx); err != nil {
		return err
	}
	if err := b.addPrograms(ctx, o.Packages); err != nil {
		return err
	}
	jobs, err := b.addTests(ctx, o)
	m.Files, m.Jobs = b.files, jobs
	return err
}

// addTests builds the packages' tests and returns what runs them.
func (b *builder) addTests(ctx context.Context, o Options) ([]wire.Job, error) {
	var dirs []string
	for _, p := range o.Packages {
		dirs = append(dirs, p.Dir)
	}
	packages, err := b.list(ctx, dirs)
	if err != nil {
		return nil, err
	}
	if err := b.build(ctx, packages, ".test", "test", "-c", "-ldflags=-s -w"); err != nil {
		return nil, err
	}
	jobs := []wire.Job{disk}
	for _, p := range packages {
		if err := b.addTestdata(p); err != nil {
			return nil, err
		}
		args := []string{"-test.v=test2json", "-test.timeout=" + o.Timeout.String(), "-test.run=" + cmp.Or(o.Run, o.packageOf(p.ImportPath).run)}
		if skip := o.leftOut(p.ImportPath); skip != "" {
			args = append(args, "-test.skip="+skip)
		}
		jobs = append(jobs, p.job(args...))
	}
	return jobs, nil
}

// disk gives the machine a /tmp with a file system that people have: ext4 on a
// loop device, whose file is in memory. The first file system, a tmpfs, has
// neither extended attributes of users nor mounts with mapped ids, which came
// to it in Linux 6.6 and 6.3.
var disk = wire.Job{
	Name: "disk", Dir: "/", Env: environment,
	Args: []string{"/bin/sh", "-euc", `
		truncate -s 1G /disk
		mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,nodiscard /disk
		mount -o loop /disk /tmp
		chmod 1777 /tmp`},
}

// noDisk returns the error of the job disk at its end, if it has one, with what
// it said.
func noDisk(end wire.Event, said string) error {
	if end.Status == 0 {
		return nil
	}
	return fmt.Errorf("virtual machine: mount a disk on /tmp: exit status %d\n%s%s", end.Status, said, end.Error)
}

// packageOf returns what the list says of a package.
func (o Options) packageOf(importPath string) Package {
	i := slices.IndexFunc(o.Packages, func(p Package) bool { return strings.HasSuffix(importPath, "/"+p.Dir) })
	if i < 0 {
		return Package{}
	}
	return o.Packages[i]
}

// leftOut returns a regular expression of a package's tests that do not run.
func (o Options) leftOut(importPath string) string {
	var tests []string
	for _, l := range o.packageOf(importPath).LeftOut {
		tests = append(tests, l.Tests)
	}
	return strings.Join(tests, "|")
}

// reporter collects what each package's tests say, and prints the verdict.
type reporter struct {
	Options
	ctx    context.Context // of the one run that it reports
	output bytes.Buffer
	failed bool
}

// take follows one event of the machine.
func (r *reporter) take(e wire.Event) error {
	r.output.Write(e.Output)
	if r.Verbose {
		r.Out.Write(bytes.ReplaceAll(e.Output, []byte{test2jsonMark}, nil))
	}
	if !e.Ended {
		return nil
	}
	if e.Job == disk.Name {
		err := noDisk(e, r.output.String())
		r.output.Reset()
		return err
	}
	v, err := judge(r.ctx, r.output.Bytes(), e.Status)
	if err != nil {
		return err
	}
	r.output.Reset()
	if e.Error != "" {
		v.complain(e.Error + "\n")
	}
	r.failed = r.failed || v.failed
	v.write(r.Out, e.Job, e.Seconds)
	return nil
}

// test2jsonMark is what package testing writes before lines that test2json is
// to understand: SYN, Ctrl-V.
const test2jsonMark = 0x16
