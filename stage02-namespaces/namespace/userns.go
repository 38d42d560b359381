package namespace

import (
	"errors"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// A user namespace without a process: what id-mapped mounts take
// (mount_setattr(2), MOUNT_ATTR_IDMAP) is an open user namespace, of which
// only the maps matter.

// NewUser returns an open user namespace with these maps. A process is born
// into it, waits while its maps are written, and has ended when NewUser
// returns: a namespace lives for as long as somebody has it open.
func NewUser(uids, gids []specs.LinuxIDMapping) (user *os.File, err error) {
	maps := Maps{uids, gids}
	if err := maps.check(); err != nil {
		return nil, err
	}
	gate, err := launch.NewGate()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, gate.Close()) }()
	p := &plan.Plan{}
	p.Add(gate.Steps()...)
	p.Add(plan.Exit(0))
	process, err := launch.Start(p, launch.Options{Namespaces: unix.CLONE_NEWUSER})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, process.Kill(), process.Close()) }()
	if err := maps.Write(process.Pid); err != nil {
		return nil, err
	}
	kind, err := ByType(specs.UserNamespace)
	if err != nil {
		return nil, err
	}
	return kind.Open("/proc/" + strconv.Itoa(process.Pid) + "/ns/user")
}
