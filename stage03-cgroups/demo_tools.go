// What all parts of the demonstration need: to start containers and look at them,
// to wait, and to say what differs from machine to machine aside.

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage03-cgroups/cgroup"
)

// judge says that something is so, or fails. What was measured goes aside.
func (s *stage) judge(sentence string, so bool, measured string) {
	if s.Err() != nil {
		return
	}
	fmt.Fprintf(s.aside, "  (measured: %s)\n", measured)
	if !so {
		s.Fail(fmt.Errorf("it is not so: %q: measured %s", sentence, measured))
	}
	s.Say("%s", sentence)
}

// leaveOut says why this machine cannot show a part.
func (s *stage) leaveOut(part string, why error) {
	fmt.Fprintf(s.aside, "  (left out: %s: %v)\n", part, why)
}

// show runs commands of this program whose output is of this moment, aside. One
// that this machine cannot do says so there.
func (s *stage) show(commands ...string) {
	for _, words := range commands {
		if s.Err() != nil {
			return
		}
		cmd := s.Command("stage03 " + words)
		cmd.Stdout, cmd.Stderr = s.aside, s.aside
		fmt.Fprintf(s.aside, "  (stage03 %s)\n", words)
		if err := cmd.Run(); err != nil {
			fmt.Fprintf(s.aside, "  (%v)\n", err)
		}
	}
}

// timed is Do, and how long it took.
func (s *stage) timed(line string) time.Duration {
	began := time.Now()
	s.Do(line)
	return time.Since(began)
}

// wait lets time pass, unless the demonstration is over.
func (s *stage) wait(d time.Duration) {
	if s.Err() == nil && !sleep(s.Context, d) {
		s.Fail(s.Context.Err())
	}
}

// await waits until something is so, at most ten seconds.
func (s *stage) await(what string, so func() bool) {
	for deadline := time.Now().Add(10 * time.Second); s.Err() == nil && !so(); time.Sleep(5 * time.Millisecond) {
		if s.Context.Err() != nil || time.Now().After(deadline) {
			s.Fail(fmt.Errorf("wait for %s: it does not come", what))
		}
	}
}

// container starts a container in the background, and waits until a process in
// it is the program of this name.
func (s *stage) container(line, name, program string) *narrate.Background {
	b := s.Background(line)
	s.await(program+" in "+name, func() bool { return slices.Contains(s.names(name), program) })
	return b
}

// names are the programs in a container's group.
func (s *stage) names(name string) (programs []string) {
	group, err := groupOf(s.Path("state"), name)
	if err != nil {
		s.Fail(err)
		return nil
	}
	pids, err := group.Processes()
	if err != nil {
		s.Fail(err)
	}
	for _, pid := range pids {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil { // it may have ended
			programs = append(programs, strings.TrimSpace(string(comm)))
		}
	}
	return programs
}

// stats are the statistics of a container.
func (s *stage) stats(name string) *cgroup.Stats {
	group, err := groupOf(s.Path("state"), name)
	if err != nil {
		s.Fail(err)
		return &cgroup.Stats{CPU: &cgroup.CPUStats{}}
	}
	stats, err := group.Stats()
	if err == nil && stats.CPU == nil {
		err = fmt.Errorf("processor time: %w", cgroup.ErrNoController)
	}
	if err != nil {
		s.Fail(err)
		return &cgroup.Stats{CPU: &cgroup.CPUStats{}}
	}
	return stats
}

// controller is where a controller is, by its name in each version.
func (s *stage) controller(v1, v2 string) (dir string, err error) {
	for _, h := range s.hierarchies.V1 {
		if slices.Contains(h.Controllers, v1) {
			return h.MountPoint, nil
		}
	}
	if s.hierarchies.V2 != nil {
		names, err := os.ReadFile(s.hierarchies.V2.MountPoint + "/cgroup.controllers")
		if err != nil {
			return "", err
		}
		if slices.Contains(strings.Fields(string(names)), v2) {
			return s.hierarchies.V2.MountPoint, nil
		}
	}
	return "", fmt.Errorf("controller %q: %w", v2, cgroup.ErrNoController)
}

// group says what is in a container's group, which has another place on every
// kind of machine.
func (s *stage) group(name string) {
	group, err := groupOf(s.Path("state"), name)
	if err != nil {
		s.Fail(err)
		return
	}
	found := "not there"
	for _, dir := range group.Paths() {
		if _, err := os.Stat(dir); err == nil {
			found = fmt.Sprintf("there, processes in it: %d", len(s.names(name)))
		}
	}
	s.Show("the group of " + name + ": " + found)
}
