package doctor

// This file tries what a container needs. No trial touches the namespaces of
// this process: a namespace is made by a child that ends at once (unshare(2)),
// and what is tried inside of one is tried by this program, started again
// there by clone(2) with the flags of namespaces(7). As an ordinary user the
// child is also born in a user namespace, in which it is root
// (user_namespaces(7)).

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// trialTime is how long one trial may take; each takes milliseconds, unless a
// module has to be loaded.
const trialTime = 20 * time.Second

// succeeded is what a trial that went well comes to.
const succeeded = "ok"

// trials are those that this program, started again, makes (see Try).
var trials = map[string]func() error{
	"overlay":  tryOverlay,
	"nftables": tryNftables,
	"veth":     tryVeth,
	"bridge":   tryBridge,
}

// leaveSandbox is the remedy where root may not do what root may do.
const leaveSandbox = "a sandbox around this shell forbids it: run skiff on the host or in a virtual machine"

// remedyFor returns the remedy for a trial that failed as root: the given one,
// unless it failed for want of permission.
func remedyFor(outcome, remedy string) string {
	if strings.Contains(outcome, syscall.EPERM.Error()) || strings.Contains(outcome, syscall.EACCES.Error()) {
		return leaveSandbox
	}
	return remedy
}

// Try makes one trial and writes what came of it to w. It is for the child
// that This starts, in namespaces of its own and in a folder for its files;
// nothing else may call it. The error is for a trial that there is not.
func Try(w io.Writer, trial string) error {
	try, there := trials[trial]
	if !there {
		return fmt.Errorf("no trial is called %q", trial)
	}
	outcome := succeeded
	if err := try(); err != nil {
		outcome = err.Error()
	}
	_, err := io.WriteString(w, outcome)
	return err
}

// runTrials makes all trials and returns what came of each. place is a folder
// on the file system that overlays will be on.
func runTrials(place string, again []string) (map[string]string, error) {
	outcomes := map[string]string{}
	for _, n := range namespaces {
		outcomes[n.name] = tryNamespace(n.flag)
	}
	dir, err := os.MkdirTemp(place, ".skiff-doctor-")
	if errors.Is(err, os.ErrPermission) {
		dir, err = os.MkdirTemp("", "skiff-doctor-")
	}
	if err != nil {
		return nil, fmt.Errorf("make a folder for trials: %w", err)
	}
	for name := range trials {
		outcomes[name] = startAgain(dir, append(again[:len(again):len(again)], name))
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove the folder of the trials: %w", err)
	}
	return outcomes, nil
}

// tryNamespace has a child unshare the namespaces of flags and then execute a
// program whose name is too long for there to be one: ENAMETOOLONG comes from
// execve(2) alone, and says that the child got that far.
func tryNamespace(flags uintptr) string {
	if os.Geteuid() != 0 {
		flags |= syscall.CLONE_NEWUSER
	}
	noProgram := "/" + strings.Repeat("x", syscall.PathMax)
	_, err := syscall.ForkExec(noProgram, []string{noProgram}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{Unshareflags: flags},
	})
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return succeeded
	}
	return fmt.Sprintf("unshare: %v", err)
}

// startAgain runs this program with args in new mount and network namespaces
// and returns what it says.
func startAgain(dir string, args []string) string {
	ctx, cancel := context.WithTimeout(context.Background(), trialTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Sprintf("the trial failed: %v", err)
	}
	if len(out) == 0 {
		return "the trial said nothing"
	}
	return string(out)
}
