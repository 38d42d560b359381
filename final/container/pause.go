package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/cgroup"
)

// What is done to a running container through its cgroup: it is paused and
// resumed, its limits change, its processes are listed. cgroups(7); package
// cgroup of chapter 3.

// StatePaused is the status of a container that is frozen. The specification
// leaves such further states to the runtime ("State"); this is runc's word.
const StatePaused specs.ContainerState = "paused"

// paused tells whether the container's group is frozen, with the one or two
// reads that the status of a thousand containers can afford; cgroup.Manager.Frozen
// also knows the groups above. A machine may have both ways, see there.
func (s *State) paused() bool {
	buffer := make([]byte, 256)
	if dir, ok := s.CgroupPaths["freezer"]; ok {
		if text, err := readFile(dir+"/freezer.state", buffer); err == nil && strings.TrimSpace(string(text)) != "THAWED" {
			return true
		}
	}
	dir, ok := s.CgroupPaths[""]
	if !ok {
		return false
	}
	text, err := readFile(dir+"/cgroup.events", buffer)
	return err == nil && strings.Contains(string(text), "frozen 1")
}

// Cgroup is the group of a container that is there, perhaps only its rests.
func (r *Runtime) Cgroup(id string) (*cgroup.Manager, error) {
	_, group, err := r.group("look at", id)
	return group, err
}

// group finds a container and its group, for who wants to do something with it.
func (r *Runtime) group(doing, id string) (*State, *cgroup.Manager, error) {
	dir, state, err := r.find(id)
	if err != nil {
		return nil, nil, err
	}
	group, err := managerOf(dir, state)
	if err != nil {
		return nil, nil, fmt.Errorf("%s container %q: %w", doing, id, err)
	}
	return state, group, nil
}

// managerOf is Cgroup for a container that was found.
func managerOf(dir string, state *State) (*cgroup.Manager, error) {
	if len(state.CgroupPaths) == 0 {
		return nil, hint.Add(fmt.Errorf("container %q has no cgroup of its own", state.ID),
			"an ordinary user's container has one only where a cgroup was delegated to him and linux.cgroupsPath names it: cgroups(7)")
	}
	spec, err := state.loadConfig(dir)
	if err != nil {
		return nil, err
	}
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	return hierarchies.New(cgroupPath(spec, state.ID))
}

// Pause stops all processes of a container until Resume. Pausing a paused one
// is an error, as in runc.
func (r *Runtime) Pause(id string) error {
	state, group, err := r.group("pause", id)
	switch {
	case err != nil:
		return err
	case state.Status != specs.StateRunning && state.Status != specs.StateCreated:
		return fmt.Errorf("pause container %q: it is %s, not running", id, state.Status)
	}
	return group.Freeze()
}

// Resume lets the processes of a paused container go on.
func (r *Runtime) Resume(id string) error {
	state, group, err := r.group("resume", id)
	switch {
	case err != nil:
		return err
	case state.Status != StatePaused:
		return fmt.Errorf("resume container %q: it is %s, not paused", id, state.Status)
	}
	return group.Thaw()
}

// thaw lets a frozen container go on, so that a signal can end it.
func thaw(dir string, state *State) error {
	if !state.paused() {
		return nil
	}
	group, err := managerOf(dir, state)
	if err != nil {
		return err
	}
	return group.Thaw()
}

// Update changes the limits of a container; what resources do not mention stays.
func (r *Runtime) Update(id string, resources *specs.LinuxResources) error {
	state, group, err := r.group("update", id)
	switch {
	case err != nil:
		return err
	case state.Status == specs.StateStopped:
		return fmt.Errorf("update container %q: %w", id, errNotRunning)
	}
	// Which devices there are does not change, as in runc: CRI sends all resources each
	// time, and its rules without those that every container has.
	rest := *resources
	rest.Devices = nil
	if err := group.Set(&rest); err != nil {
		return fmt.Errorf("update container %q: %w", id, err)
	}
	return nil
}

// Processes returns the ids of a container's processes.
func (r *Runtime) Processes(id string) ([]int, error) {
	_, group, err := r.group("list the processes of", id)
	if err != nil {
		return nil, err
	}
	return group.Processes()
}

// rememberConfig keeps the configuration as it was at create: what is edited in
// the bundle afterwards has no effect (runtime-spec runtime.md, "Lifecycle").
func rememberConfig(dir string, text []byte, spec *specs.Spec) error {
	file := filepath.Join(dir, configFile)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("remember the configuration: %w", err)
	}
	if text != nil {
		_, err = f.Write(text)
	} else {
		err = oci.WriteSpec(f, spec)
	}
	return errors.Join(err, f.Close())
}

// loadConfig reads it.
func (s *State) loadConfig(dir string) (*specs.Spec, error) { return oci.LoadCopy(dir, s.Bundle) }
