// Hugetlb: how many bytes of huge pages of each size a group may use
// (admin-guide/cgroup-v1/hugetlb, admin-guide/cgroup-v2 "HugeTLB").
//
// A limit on reservations (rsvd) makes mmap(2) fail, where one on usage alone
// kills the process with SIGBUS when it touches a page later. The
// specification asks for reservations; usage follows, as a page can be
// used without having been reserved (MAP_NORESERVE).

package cgroup

import (
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func hugetlbV1(_ string, r *specs.LinuxResources) ([]setting, error) {
	return hugetlb(r.HugepageLimits, "limit_in_bytes")
}

func hugetlbV2(_ string, r *specs.LinuxResources) ([]setting, error) {
	return hugetlb(r.HugepageLimits, "max")
}

func hugetlb(limits []specs.LinuxHugepageLimit, file string) (all []setting, err error) {
	for _, l := range limits {
		if l.Pagesize == "" || strings.Contains(l.Pagesize, "/") {
			return nil, invalid("hugepageLimits: page size %q", l.Pagesize)
		}
		value := strconv.FormatUint(l.Limit, 10)
		all = append(all,
			to("hugetlb."+l.Pagesize+".rsvd."+file, value),
			to("hugetlb."+l.Pagesize+"."+file, value))
	}
	return all, nil
}
