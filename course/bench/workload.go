package main

// This file says what the runtimes do, and has them do it in turn.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"skiff.example/course/bench/taken"
)

// workload is something that all runtimes do.
type workload struct {
	title   string
	rounds  int
	program []string // of the container
	starts  int      // so many commands a container takes; not 0: what they take that do nothing is in the table
	inC     bool     // and what the container takes by hand and in C
	prints  bool     // the commands print something
	reaches []reach

	// prepare makes what the commands need, nil: nothing. undo removes it.
	prepare func(b *bundle, c candidate) (id string, undo func() error, err error)
	// commands are those of one round; id is what prepare returned, or that of
	// a new container.
	commands func(c candidate, id string) [][]string
	// atOnce is how many times the commands run at the same time, each time for a
	// container of its own; 0 and 1: once.
	atOnce int
}

// reach is the ratio of wall-clock time that skiff-oci strives for.
type reach struct {
	against int
	most    float64
}

// warmUp is how many rounds come before those that count: they fill the page
// cache.
const warmUp = 3

// together is how many containers run at once.
const together = 100

var (
	succeed = []string{"/bin/true"}
	wait    = []string{"/bin/sleep", "1000"}
)

// workloads are all of them.
func workloads(rounds, many int) []workload {
	few := max(1, rounds/5)
	return []workload{
		{
			title: "run of /bin/true", rounds: rounds, program: succeed, starts: 1, inC: true, reaches: []reach{{crun, 0.9}, {runc, 0.35}},
			commands: func(c candidate, id string) [][]string { return [][]string{c.command("run", id)} },
		},
		{
			title: "create, start and delete of /bin/true", rounds: rounds, program: succeed, starts: 3, inC: true, reaches: []reach{{crun, 0.7}, {runc, 0.25}, {byHand, 1.6}},
			commands: func(c candidate, id string) [][]string {
				return [][]string{c.command("create", id), c.command("start", id), {c.path, "delete", "--force", id}}
			},
		},
		{
			title: "exec of /bin/true", rounds: rounds, program: wait, prepare: running, starts: 1, inC: true, reaches: []reach{{crun, 0.7}},
			commands: func(c candidate, id string) [][]string { return [][]string{c.command("exec", id, succeed...)} },
		},
		{
			title: fmt.Sprintf("%d at once: run of /bin/true", together), rounds: max(1, rounds/5), program: succeed,
			atOnce: together, reaches: []reach{{crun, 0.8}},
			commands: func(c candidate, id string) [][]string { return [][]string{c.command("run", id)} },
		},
		{
			title: fmt.Sprintf("state, with %d containers", many), rounds: few, program: wait, prepare: among(many), prints: true, reaches: []reach{{crun, 1}},
			commands: func(c candidate, id string) [][]string { return [][]string{c.command("state", id)} },
		},
		{
			title: fmt.Sprintf("list, with %d containers", many), rounds: few, program: wait, prepare: among(many), prints: true, reaches: []reach{{crun, 1}},
			commands: func(c candidate, _ string) [][]string { return [][]string{{c.path, "list"}} },
		},
	}
}

// compare has all runtimes do it, in turn, and prints the table.
func (w workload) compare(ctx context.Context, b *bundle, runtimes []candidate) (err error) {
	if err := b.setProgram(w.program...); err != nil {
		return err
	}
	candidates := runtimes
	if w.inC && b.inC != nil {
		candidates = append(slices.Clip(runtimes), staticC)
	}
	ids := make([]string, len(candidates))
	for i, c := range candidates {
		if w.prepare == nil {
			break
		}
		var undo func() error
		if ids[i], undo, err = w.prepare(b, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		defer func() { err = errors.Join(err, undo()) }()
	}
	if w.starts > 0 {
		candidates, ids = slices.Concat([]candidate{nothing}, candidates, []candidate{empty}), slices.Concat([]string{""}, ids, []string{""})
	}
	samples := make([][]taken.Sample, len(candidates))
	for round := range min(warmUp, w.rounds) + w.rounds {
		for _, i := range rand.Perm(len(candidates)) {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			s, err := w.once(b, candidates[i], ids[i])
			if err != nil {
				return err
			}
			if round >= min(warmUp, w.rounds) {
				samples[i] = append(samples[i], s)
			}
		}
	}
	return writeTable(os.Stdout, w, candidates, samples)
}

// once has one candidate do it once. After an error its containers are removed.
func (w workload) once(b *bundle, c candidate, id string) (taken.Sample, error) {
	if c.root == "" {
		return b.run(c, taken.Task{Commands: slices.Repeat([][]string{{c.path}}, w.starts)}, false)
	}
	t := taken.Task{AtOnce: w.atOnce > 1}
	var made []string
	for range max(1, w.atOnce) {
		if w.prepare == nil {
			id = b.newID()
			made = append(made, id)
		}
		t.Commands = append(t.Commands, w.commands(c, id)...)
	}
	s, err := b.run(c, t, w.prints)
	if err != nil {
		for _, id := range made {
			err = errors.Join(err, c.remove(id))
		}
	}
	return s, err
}

// running makes a container that runs.
func running(b *bundle, c candidate) (id string, undo func() error, err error) {
	id = b.newID()
	out, err := os.OpenFile(filepath.Join(bundleDir, "running"), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return "", nil, err
	}
	defer out.Close()
	cmd := exec.Command(c.path, "run", "--detach", id)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = bundleDir, b.files[0], out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return "", nil, errors.Join(fmt.Errorf("run --detach: %w: %s", err, said), c.remove(id))
	}
	return id, func() error { return c.remove(id) }, nil
}

// among makes a container that runs, and beside it so many that all are n. These
// are copies of the first one's state: for who looks at them there is no difference.
func among(n int) func(b *bundle, c candidate) (id string, undo func() error, err error) {
	return func(b *bundle, c candidate) (string, func() error, error) {
		id, remove, err := running(b, c)
		if err != nil {
			return "", nil, err
		}
		var copies []string
		undo := func() error {
			var errs []error
			for _, dir := range copies {
				errs = append(errs, os.RemoveAll(dir))
			}
			return errors.Join(append(errs, remove())...)
		}
		for range n - 1 {
			other := b.newID()
			copies = append(copies, filepath.Join(c.root, other))
			if err := copyState(filepath.Join(c.root, id), filepath.Join(c.root, other), id, other); err != nil {
				return "", nil, errors.Join(err, undo())
			}
		}
		return id, undo, nil
	}
}

// copyState copies the files of a container's state folder; the id in them
// becomes another.
func copyState(from, to, id, other string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		name := strings.ReplaceAll(e.Name(), id, other)
		if err := os.WriteFile(filepath.Join(to, name), bytes.ReplaceAll(text, []byte(id), []byte(other)), 0o600); err != nil {
			return err
		}
	}
	return nil
}
