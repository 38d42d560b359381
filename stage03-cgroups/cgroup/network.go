// Network and RDMA. The v1 controllers net_cls and net_prio put a class on a
// group's packets, for tc(8), and a priority (admin-guide/cgroup-v1/net_cls,
// net_prio); v2 has neither, as firewall rules can match the group itself.
// Rdma bounds the handles and objects of an InfiniBand adapter.

package cgroup

import (
	"fmt"
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func netCls(_ string, r *specs.LinuxResources) ([]setting, error) {
	if r.Network == nil {
		return nil, nil
	}
	return []setting{to("net_cls.classid", given(r.Network.ClassID))}, nil
}

func netPrio(_ string, r *specs.LinuxResources) (all []setting, err error) {
	if r.Network == nil {
		return nil, nil
	}
	for _, p := range r.Network.Priorities {
		all = append(all, to("net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority)))
	}
	return all, nil
}

func rdma(_ string, r *specs.LinuxResources) (all []setting, err error) {
	for _, name := range slices.Sorted(maps.Keys(r.Rdma)) {
		line := name
		if n := r.Rdma[name].HcaHandles; n != nil {
			line += fmt.Sprintf(" hca_handle=%d", *n)
		}
		if n := r.Rdma[name].HcaObjects; n != nil {
			line += fmt.Sprintf(" hca_object=%d", *n)
		}
		if line == name {
			return nil, invalid("rdma.%s has neither hcaHandles nor hcaObjects", name)
		}
		all = append(all, to("rdma.max", line))
	}
	return all, nil
}
