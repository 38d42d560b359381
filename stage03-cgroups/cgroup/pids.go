// Pids: how many processes and threads a group may have (admin-guide/cgroup-v1
// pids, admin-guide/cgroup-v2 "PID"). At the limit fork(2) fails with EAGAIN,
// which is what stops a fork bomb. The files are the same in both versions.

package cgroup

import specs "github.com/opencontainers/runtime-spec/specs-go"

// pids: 0 is a limit: nothing in the group may fork (runtime-spec config-linux.md,
// "PIDs"). -1 is none.
func pids(_ string, r *specs.LinuxResources) ([]setting, error) {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil, nil
	}
	if *r.Pids.Limit < -1 {
		return nil, invalid("pids.limit %d: a number of processes and threads, or -1 for no limit", *r.Pids.Limit)
	}
	return []setting{to("pids.max", limit(*r.Pids.Limit))}, nil
}
