// Block I/O: a weight among groups, and ceilings for one device
// (admin-guide/cgroup-v1/blkio-controller, admin-guide/cgroup-v2 "IO").
//
//	          v1 (blkio)                            v2 (io)
//	weight    blkio.weight or blkio.bfq.weight      io.weight or io.bfq.weight
//	ceilings  blkio.throttle.read_bps_device, ...   io.max: "8:0 rbps=1048576"
//
// Which weight file there is depends on the kernel's schedulers: the plain one
// belongs to CFQ (gone in 5.0) in v1 and to iocost in v2.

package cgroup

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func blkioV1(dir string, r *specs.LinuxResources) ([]setting, error) {
	b := r.BlockIO
	if b == nil {
		return nil, nil
	}
	file := "blkio.weight"
	if !exists(dir, file) {
		file = "blkio.bfq.weight"
	}
	settings := []setting{to(file, number(b.Weight))}
	for _, d := range b.WeightDevice {
		settings = append(settings, to(file+"_device", device(d.LinuxBlockIODevice)+" "+number(d.Weight)))
	}
	for _, c := range ceilings(b) {
		settings = append(settings, to("blkio.throttle."+c.v1, fmt.Sprintf("%s %d", device(c.LinuxBlockIODevice), c.Rate)))
	}
	return settings, checkBlkio(b)
}

func blkioV2(dir string, r *specs.LinuxResources) (settings []setting, err error) {
	b := r.BlockIO
	file, convert := "io.weight", ioWeight
	if exists(dir, "io.bfq.weight") {
		file, convert = "io.bfq.weight", func(n uint16) uint64 { return uint64(n) }
	}
	if set(b.Weight) {
		settings = append(settings, to(file, strconv.FormatUint(convert(*b.Weight), 10)))
	}
	for _, d := range b.WeightDevice {
		settings = append(settings, to(file, fmt.Sprintf("%s %d", device(d.LinuxBlockIODevice), convert(*d.Weight))))
	}
	for _, c := range ceilings(b) {
		rate := unlimited // v1 says it with 0
		if c.Rate != 0 {
			rate = strconv.FormatUint(c.Rate, 10)
		}
		settings = append(settings, to("io.max", fmt.Sprintf("%s %s=%s", device(c.LinuxBlockIODevice), c.v2, rate)))
	}
	return settings, nil
}

// ioWeight converts a weight of v1, 10 to 1000, to one of v2, 1 to 10000.
func ioWeight(n uint16) uint64 {
	return 1 + (uint64(n)-10)*9999/990
}

// checkBlkio refuses what is never written, or what the kernel would take for
// another number. Leaf weights left it with CFQ (5.0).
func checkBlkio(b *specs.LinuxBlockIO) error {
	leaf := set(b.LeafWeight)
	for _, d := range b.WeightDevice {
		leaf = leaf || set(d.LeafWeight)
		if !set(d.Weight) && !set(d.LeafWeight) {
			return invalid("blockIO.weightDevice %s has no weight", device(d.LinuxBlockIODevice))
		}
		if err := cmp.Or(checkWeight(d.Weight), checkDevice(d.LinuxBlockIODevice)); err != nil {
			return err
		}
	}
	if leaf {
		return invalid("blockIO.leafWeight: Linux has none since 5.0")
	}
	for _, c := range ceilings(b) {
		if err := cmp.Or(checkDevice(c.LinuxBlockIODevice), checkRate(c)); err != nil {
			return err
		}
	}
	return checkWeight(b.Weight)
}

// checkWeight: v1 and BFQ would take 1 to 9 as well, v2 would make 10 of them.
func checkWeight(n *uint16) error {
	if set(n) && (*n < 10 || *n > 1000) {
		return invalid("blockIO weight %d: 10 to 1000", *n)
	}
	return nil
}

// checkDevice: the kernel puts both numbers into one of 32 bits, and what is too
// great for its place becomes part of the other, or nothing.
func checkDevice(d specs.LinuxBlockIODevice) error {
	if d.Major < 0 || d.Minor < 0 || d.Major > maxMajor || d.Minor > maxMinor {
		return invalid("blockIO: there is no device %s", device(d))
	}
	return nil
}

// checkRate: of operations the kernel keeps 32 bits, and would take 1<<32 for 0 in
// v1, and for no limit in v2.
func checkRate(c ceiling) error {
	if strings.HasSuffix(c.v1, "iops_device") && c.Rate >= math.MaxUint32 {
		return invalid("blockIO: %d operations a second on %s: at most %d", c.Rate, device(c.LinuxBlockIODevice), math.MaxUint32-1)
	}
	return nil
}

// ceiling is a limit of bytes or operations per second on one device.
type ceiling struct {
	specs.LinuxThrottleDevice
	v1, v2 string // the file's name in v1, the word in io.max in v2
}

func ceilings(b *specs.LinuxBlockIO) []ceiling {
	var all []ceiling
	for _, kind := range []struct {
		devices []specs.LinuxThrottleDevice
		v1, v2  string
	}{
		{b.ThrottleReadBpsDevice, "read_bps_device", "rbps"},
		{b.ThrottleWriteBpsDevice, "write_bps_device", "wbps"},
		{b.ThrottleReadIOPSDevice, "read_iops_device", "riops"},
		{b.ThrottleWriteIOPSDevice, "write_iops_device", "wiops"},
	} {
		for _, d := range kind.devices {
			all = append(all, ceiling{d, kind.v1, kind.v2})
		}
	}
	return all
}

// device formats a device number as the controller wants it: "8:0".
func device(d specs.LinuxBlockIODevice) string {
	return fmt.Sprintf("%d:%d", d.Major, d.Minor)
}
