// Command enter makes a container of a few namespaces, among them a user
// namespace, and runs a program in it that was not born there: what `exec` into
// a container of an ordinary user is.
//
//	enter path|pidfd PROGRAM [ARGUMENT…]
package main

import (
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		hint.Print(os.Stderr, "enter", err)
		os.Exit(1)
	}
}

func run(way string, argv []string) (err error) {
	held, never, err := container()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Kill(), never.Close()) }()
	set, err := join(way, held)
	if err != nil {
		return err
	}
	defer set.Close()
	p := &plan.Plan{}
	set.Steps(p)
	p.Add(plan.Setresgid(0), plan.Setresuid(0), plan.CloseOnExec(3), plan.SetSignalMask(0))
	p.Add(plan.Execve(argv[0], argv, os.Environ()))
	process, err := launch.Start(p, launch.Options{Namespaces: set.Born()})
	if err != nil {
		return err
	}
	status, err := process.Wait()
	if err == nil && status.ExitStatus() != 0 {
		err = errors.New(argv[0] + " has failed")
	}
	return err
}

// container starts the first process, which waits at a gate. The network is the
// host's.
func container() (held *launch.Process, never *launch.Gate, err error) {
	var wanted []specs.LinuxNamespace
	for _, kind := range []specs.LinuxNamespaceType{"user", "mount", "pid", "ipc", "uts"} {
		wanted = append(wanted, specs.LinuxNamespace{Type: kind})
	}
	set, err := namespace.NewSet(wanted)
	if err != nil {
		return nil, nil, err
	}
	if never, err = launch.NewGate(); err != nil {
		return nil, nil, err
	}
	p := &plan.Plan{}
	set.Steps(p)
	p.Add(plan.Sethostname("entered"))
	p.Add(never.Steps()...)
	if held, err = launch.Start(p, launch.Options{Namespaces: set.Born()}); err != nil {
		return nil, nil, err
	}
	maps, err := namespace.OwnMaps()
	if err == nil {
		err = maps.Write(held.Pid)
	}
	return held, never, err
}

// join joins all namespaces of the process, in one of two ways.
func join(way string, held *launch.Process) (*namespace.Set, error) {
	if way == "path" {
		var all []specs.LinuxNamespace
		for _, k := range namespace.Kinds {
			all = append(all, specs.LinuxNamespace{Type: k.Type, Path: fmt.Sprintf("/proc/%d/ns/%s", held.Pid, k.File)})
		}
		return namespace.NewSet(all)
	}
	set, err := namespace.NewSet(nil)
	if err != nil {
		return nil, err
	}
	return set, set.JoinProcess(held.Pidfd(), unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID|
		unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWCGROUP|unix.CLONE_NEWTIME)
}
