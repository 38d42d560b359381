// Network and RDMA. The v1 controllers net_cls and net_prio put a class on a
// group's packets, for tc(8), and a priority (admin-guide/cgroup-v1/net_cls,
// net_prio); v2 has neither, as firewall rules can match the group itself.
// Rdma bounds the handles and objects of an InfiniBand adapter.

package cgroup

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func netClsAsked(r *specs.LinuxResources) bool {
	return r.Network != nil && r.Network.ClassID != nil
}

func setNetCls(dir string, r *specs.LinuxResources) error {
	return write(dir, "net_cls.classid", strconv.FormatUint(uint64(*r.Network.ClassID), 10))
}

func netPrioAsked(r *specs.LinuxResources) bool {
	return r.Network != nil && len(r.Network.Priorities) > 0
}

func setNetPrio(dir string, r *specs.LinuxResources) error {
	for _, p := range r.Network.Priorities {
		if err := write(dir, "net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority)); err != nil {
			return err
		}
	}
	return nil
}

func rdmaAsked(r *specs.LinuxResources) bool { return len(r.Rdma) > 0 }

func setRdma(dir string, r *specs.LinuxResources) error {
	for _, name := range slices.Sorted(maps.Keys(r.Rdma)) {
		if r.Rdma[name].HcaHandles == nil && r.Rdma[name].HcaObjects == nil {
			return invalid("rdma.%s has neither hcaHandles nor hcaObjects", name)
		}
		line := []string{name}
		if n := r.Rdma[name].HcaHandles; n != nil {
			line = append(line, fmt.Sprintf("hca_handle=%d", *n))
		}
		if n := r.Rdma[name].HcaObjects; n != nil {
			line = append(line, fmt.Sprintf("hca_object=%d", *n))
		}
		if err := write(dir, "rdma.max", strings.Join(line, " ")); err != nil {
			return err
		}
	}
	return nil
}
