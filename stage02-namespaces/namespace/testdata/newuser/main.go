// Command newuser runs a program as root of a new user namespace: what the
// tests have an ordinary user do, and what they do in a chroot and where user
// namespaces are switched off.
//
//	newuser [-kinds user,mount,…] [-maps own|self] [-boottime SECONDS] PROGRAM [ARGUMENT…]
package main

import (
	"errors"
	"flag"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

func main() {
	kinds := flag.String("kinds", "user", "the new namespaces")
	which := flag.String("maps", "own", "own: all that OwnMaps finds; self: the caller's own ids; lent: 0 to 100000")
	boottime := flag.Int64("boottime", 0, "seconds by which the boot clock is ahead")
	flag.Parse()
	if err := run(*kinds, *which, *boottime, flag.Args()); err != nil {
		hint.Print(os.Stderr, "newuser", err)
		os.Exit(1)
	}
}

func run(kinds, which string, boottime int64, argv []string) (err error) {
	var wanted []specs.LinuxNamespace
	for kind := range strings.SplitSeq(kinds, ",") {
		wanted = append(wanted, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(kind)})
	}
	set, err := namespace.NewSet(wanted)
	if err != nil {
		return err
	}
	if boottime != 0 {
		if err := set.SetTimeOffsets(map[string]specs.LinuxTimeOffset{"boottime": {Secs: boottime}}); err != nil {
			return err
		}
	}
	maps, err := choose(which)
	if err != nil {
		return err
	}
	denied, err := maps.DeniesSetgroups()
	if err != nil {
		return err
	}
	gate, err := launch.NewGate()
	if err != nil {
		return err
	}
	p := &plan.Plan{}
	set.Steps(p)
	p.Add(gate.Steps()...)
	set.LateSteps(p)
	if !denied {
		p.Add(plan.Setgroups())
	}
	p.Add(plan.Setresgid(0), plan.Setresuid(0), plan.CloseOnExec(3), plan.SetSignalMask(0))
	p.Add(plan.Execve(argv[0], argv, os.Environ()))
	process, err := launch.Start(p, launch.Options{Namespaces: set.Born()})
	if err != nil {
		return err
	}
	if err := maps.Write(process.Pid); err != nil {
		return errors.Join(err, process.Kill())
	}
	if err := gate.Open(); err != nil {
		return errors.Join(err, process.Kill())
	}
	status, err := process.Wait()
	if err == nil && status.ExitStatus() != 0 {
		err = errors.New(argv[0] + " has failed")
	}
	return err
}

func choose(which string) (namespace.Maps, error) {
	one := func(first, size int) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(first), Size: uint32(size)}}
	}
	switch which {
	case "self":
		return namespace.Maps{UIDs: one(os.Geteuid(), 1), GIDs: one(os.Getegid(), 1)}, nil
	case "lent":
		return namespace.Maps{UIDs: one(100000, 65536), GIDs: one(100000, 65536)}, nil
	}
	return namespace.OwnMaps()
}
