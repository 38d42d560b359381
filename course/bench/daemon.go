package main

// This file runs containerd, and measures what a process takes that is not our
// child alone to wait for: proc_pid_stat(5), proc_pid_status(5).

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// containerd starts containerd with all that it has below dir.
func containerd(dir string) (*exec.Cmd, error) {
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		dir+"/root", dir+"/state", dir+"/socket")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("containerd", "--log-level", "error", "--config", config)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err := until("containerd", func() bool { return exec.Command("ctr", "--address", dir+"/socket", "version").Run() == nil })
	if err != nil {
		return nil, errors.Join(err, end(cmd))
	}
	return cmd, nil
}

// end ends a process that we started.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = cmd.Wait() // by a signal: that is no success, and what we want
	return nil
}

// usage is what a process has taken so far, with its children that have ended.
type usage struct {
	cpu  time.Duration
	peak int64 // bytes
}

// usageOf reads it. Times are in ticks of 10 ms: what takes less is not seen.
func usageOf(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // the name may have spaces
	fields := strings.Fields(string(after))
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscanf(line, "%d kB", &u.peak)
	u.peak <<= 10
	return u, err
}
