// Limits: from the words of a command line to those of the OCI runtime
// specification (config-linux.md, "Control groups"). Here a value is refused that
// is none; whether a limit can be had is for the kernel to say.

package main

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/cgroup"
)

// limitFlags are the flags of run and update. "max" is no limit, as the kernel
// has it.
func limitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "memory", Usage: "at most `SIZE` of memory, all processes together: 64m, 1g, max"},
		&cli.StringFlag{Name: "memory-swap", Usage: "at most `SIZE` of memory and swap space; the same as --memory, which is no swap, if not given"},
		&cli.StringFlag{Name: "cpus", Usage: "at most the time of `N` processors; 0.5 is half of one"},
		&cli.StringFlag{Name: "cpu-weight", Usage: "`N` parts of the processors when they are busy: 1 to 10000, others have 100"},
		&cli.StringFlag{Name: "cpu-shares", Usage: "the same as version 1 counts: `N` is 2 to 262144, others have 1024"},
		&cli.StringFlag{Name: "cpuset-cpus", Usage: "run only on the processors of `LIST`: 0-2,5"},
		&cli.StringFlag{Name: "pids", Usage: "at most `N` processes and threads"},
		&cli.StringSliceFlag{Name: "io-read", Usage: "read at most so many bytes a second: `DEVICE:SIZE`, as /dev/sda:10m, 8:0:10m or 8:0:max"},
		&cli.StringSliceFlag{Name: "io-write", Usage: "write at most so many bytes a second: `DEVICE:SIZE`"},
		&cli.StringSliceFlag{Name: "unified", Usage: "write a file of cgroup version 2: `FILE=VALUE`, as memory.high=32m"},
	}
}

// deviceFlag is of run alone: in a container that runs, nobody knows the rules any
// more to which others would be added.
func deviceFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "device", Usage: "allow more devices than every container has, or fewer: `RULE` is \"c 10:200 rw\", \"b 7:* r\", \"deny c 1:5 rw\""}
}

// limitsOf are the limits that the flags ask for, checked.
func limitsOf(c *cli.Context) (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{}, CPU: &specs.LinuxCPU{}, BlockIO: &specs.LinuxBlockIO{},
		Unified: map[string]string{},
	}
	for _, l := range []struct {
		flag string
		set  func(r *specs.LinuxResources, value string) error
	}{
		{"memory", setMemory},
		{"memory-swap", setSwap},
		{"pids", setPids},
		{"cpus", setCPUs},
		{"cpu-weight", setWeight},
		{"cpu-shares", setShares},
		{"cpuset-cpus", setCPUList},
		{"io-read", func(r *specs.LinuxResources, value string) error {
			return addCeiling(&r.BlockIO.ThrottleReadBpsDevice, value)
		}},
		{"io-write", func(r *specs.LinuxResources, value string) error {
			return addCeiling(&r.BlockIO.ThrottleWriteBpsDevice, value)
		}},
		{"device", addDevice},
		{"unified", addFile},
	} {
		for _, value := range values(c, l.flag) {
			if err := l.set(r, value); err != nil {
				return nil, fmt.Errorf("--%s %q: %w", l.flag, value, err)
			}
		}
	}
	if m := r.Memory; m.Swap != nil && m.Limit != nil && *m.Swap > 0 && (*m.Limit < 0 || *m.Swap < *m.Limit) {
		err := fmt.Errorf("--memory-swap %s: less than --memory", c.String("memory-swap"))
		return nil, hint.Add(err, "it is for memory and swap space together")
	}
	if c.IsSet("cpu-weight") && c.IsSet("cpu-shares") {
		return nil, errors.New("--cpu-weight and --cpu-shares: one of them, they say the same")
	}
	return r, nil
}

// wholeLimits makes the limits of a new container of those that were asked for. It
// has the devices that it was given, and no others. And what does not fit into its
// memory must not go to the swap area instead, and slow everybody down.
func wholeLimits(c *cli.Context, r *specs.LinuxResources) error {
	r.Devices = allowedDevices(r.Devices)
	if m := r.Memory; m.Swap == nil {
		m.Swap = m.Limit
	} else if m.Limit == nil && *m.Swap > 0 {
		err := fmt.Errorf("--memory-swap %s: needs --memory", c.String("memory-swap"))
		return hint.Add(err, "it is for memory and swap space together")
	}
	return nil
}

// keepSwap makes a new limit of memory one that leaves as much swap space as there
// was: the specification counts both together.
func keepSwap(m *specs.LinuxMemory, now *cgroup.MemoryStats) {
	if m.Limit == nil || m.Swap != nil || now == nil {
		return
	}
	both := int64(-1)
	if *m.Limit > 0 && now.SwapMax <= uint64(math.MaxInt64-*m.Limit) {
		both = *m.Limit + int64(now.SwapMax)
	}
	m.Swap = &both
}

// values are what a flag was given: nothing, one word, or several.
func values(c *cli.Context, flag string) []string {
	if !c.IsSet(flag) {
		return nil
	}
	if all := c.StringSlice(flag); len(all) > 0 {
		return all
	}
	return []string{c.String(flag)}
}

func setMemory(r *specs.LinuxResources, value string) (err error) {
	r.Memory.Limit, err = parseSize(value)
	return err
}

func setSwap(r *specs.LinuxResources, value string) (err error) {
	r.Memory.Swap, err = parseSize(value)
	return err
}

func setPids(r *specs.LinuxResources, value string) error {
	const most = 4 << 20 // PID_MAX_LIMIT: there are no more numbers
	n := int64(-1)
	if value != unlimited {
		var err error
		if n, err = parseNumber(value, 1, most); err != nil {
			return hint.Add(err, "no limit is max")
		}
	}
	r.Pids = &specs.LinuxPids{Limit: &n}
	return nil
}

// quotaPeriod is the stretch of time over which the kernel counts a group's
// processor time, in microseconds; this is its default.
const quotaPeriod = 100_000

// setCPUs: the least that the kernel gives out is 1 ms of each period, the most
// is far from it.
func setCPUs(r *specs.LinuxResources, value string) error {
	p, quota := uint64(quotaPeriod), int64(-1)
	if value != unlimited {
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil || math.IsNaN(n):
			return hint.Add(errors.New("not a number"), "half of a processor is 0.5; no limit is max")
		case n < 0.01:
			return errors.New("must be at least 0.01")
		case n > 1e6:
			return errors.New("must be at most 1000000")
		}
		quota = int64(math.Round(n * quotaPeriod))
	}
	r.CPU.Period, r.CPU.Quota = &p, &quota
	return nil
}

func setCPUList(r *specs.LinuxResources, value string) error {
	if value == "" {
		return hint.Add(errors.New("not a list"), "a list is like 0-2,5; which there are: nproc")
	}
	r.CPU.Cpus = value
	return nil
}

func setShares(r *specs.LinuxResources, value string) error {
	n, err := parseNumber(value, 2, 262144)
	shares := uint64(n)
	r.CPU.Shares = &shares
	return err
}

// setWeight: the specification knows shares alone, so this looks for the most that
// become that weight again.
func setWeight(r *specs.LinuxResources, value string) error {
	weight, err := parseNumber(value, 1, 10000)
	if err != nil {
		return err
	}
	more := sort.Search(262145, func(n int) bool { return cgroup.Weight(uint64(n)) > uint64(weight) })
	shares := uint64(more - 1)
	r.CPU.Shares = &shares
	return nil
}

// addCeiling adds DEVICE:SIZE to the limits of bytes a second. The file is 0 for
// none: admin-guide/cgroup-v1/blkio-controller.
func addCeiling(to *[]specs.LinuxThrottleDevice, value string) error {
	colon := strings.LastIndexByte(value, ':')
	if colon < 0 {
		return hint.Add(errors.New("want DEVICE:SIZE"), "10 MiB a second are /dev/sda:10m, or 8:0:10m")
	}
	rate, err := parseSize(value[colon+1:])
	if err != nil {
		return err
	}
	major, minor, err := blockDevice(value[:colon])
	if err != nil {
		return err
	}
	d := specs.LinuxThrottleDevice{Rate: uint64(max(*rate, 0))}
	d.Major, d.Minor = major, minor
	*to = append(*to, d)
	return nil
}

// addDevice adds "[allow|deny] TYPE MAJOR:MINOR ACCESS".
func addDevice(r *specs.LinuxResources, value string) error {
	words := strings.Fields(value)
	allow := true
	if len(words) > 0 && (words[0] == "deny" || words[0] == "allow") {
		allow, words = words[0] == "allow", words[1:]
	}
	if len(words) != 3 || words[0] != "a" && words[0] != "b" && words[0] != "c" || strings.Trim(words[2], "rwm") != "" {
		return hint.Add(errors.New("not a rule"), "a rule is like \"c 10:200 rw\": c or b, the device's number, and what of read, write, mknod")
	}
	major, minor, err := deviceNumber(words[1], -1)
	if err != nil {
		return err
	}
	r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: allow, Type: words[0], Major: &major, Minor: &minor, Access: words[2]})
	return nil
}

// allowedDevices puts rules behind those that every container has: none but a few.
func allowedDevices(more []specs.LinuxDeviceCgroup) []specs.LinuxDeviceCgroup {
	rules := append([]specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, cgroup.DefaultDevices()...)
	return append(rules, more...)
}

// addFile adds FILE=VALUE.
func addFile(r *specs.LinuxResources, text string) error {
	file, value, found := strings.Cut(text, "=")
	if !found || file == "" {
		return hint.Add(errors.New("want FILE=VALUE"), "as in memory.high=33554432")
	}
	if _, twice := r.Unified[file]; twice {
		return errors.New("given twice")
	}
	r.Unified[file] = value
	return nil
}
