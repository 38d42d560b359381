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

func hugetlbAsked(r *specs.LinuxResources) bool { return len(r.HugepageLimits) > 0 }

func setHugetlbV1(dir string, r *specs.LinuxResources) error {
	return setHugetlb(dir, r.HugepageLimits, "limit_in_bytes")
}

func setHugetlbV2(dir string, r *specs.LinuxResources) error {
	return setHugetlb(dir, r.HugepageLimits, "max")
}

func setHugetlb(dir string, limits []specs.LinuxHugepageLimit, file string) error {
	for _, l := range limits {
		if l.Pagesize == "" || strings.Contains(l.Pagesize, "/") {
			return invalid("hugepageLimits: page size %q", l.Pagesize)
		}
		value := strconv.FormatUint(l.Limit, 10)
		if err := writeAll(dir,
			setting{"hugetlb." + l.Pagesize + ".rsvd." + file, value},
			setting{"hugetlb." + l.Pagesize + "." + file, value}); err != nil {
			return err
		}
	}
	return nil
}
