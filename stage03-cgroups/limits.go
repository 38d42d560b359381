package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/cgroup"
)

// Limits: from the words of a command line to those of the OCI runtime
// specification (config-linux.md, "Control groups"). Here a value is refused that
// is none; whether a limit can be had is for the kernel to say.

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
		&cli.StringSliceFlag{Name: "io-read", Usage: "read at most so many bytes a second: `DEVICE:SIZE`, as /dev/sda:10m or 8:0:10m"},
		&cli.StringSliceFlag{Name: "io-write", Usage: "write at most so many bytes a second: `DEVICE:SIZE`"},
		&cli.StringSliceFlag{Name: "device", Usage: "allow more devices than every container has, or fewer: `RULE` is \"c 10:200 rw\", \"b 7:* r\", \"deny c 1:5 rw\""},
		&cli.StringSliceFlag{Name: "unified", Usage: "write a file of cgroup version 2: `FILE=VALUE`, as memory.high=32m"},
	}
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
		{"cpuset-cpus", func(r *specs.LinuxResources, value string) error { r.CPU.Cpus = value; return nil }},
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
	if m := r.Memory; m.Swap == nil {
		// What does not fit must not go to the swap area instead, and slow
		// everybody down.
		m.Swap = m.Limit
	} else if m.Limit != nil && *m.Swap > 0 && (*m.Limit < 0 || *m.Swap < *m.Limit) {
		err := fmt.Errorf("--memory-swap %s: less than --memory", c.String("memory-swap"))
		return nil, hint.Add(err, "it is for memory and swap space together")
	}
	if c.IsSet("cpu-weight") && c.IsSet("cpu-shares") {
		return nil, errors.New("--cpu-weight and --cpu-shares: one of them, they say the same")
	}
	return r, nil
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

// unlimited is the word for no limit, which in the specification is −1.
const unlimited = "max"

func setMemory(r *specs.LinuxResources, value string) (err error) {
	r.Memory.Limit, err = parseSize(value)
	return err
}

func setSwap(r *specs.LinuxResources, value string) (err error) {
	r.Memory.Swap, err = parseSize(value)
	return err
}

// parseSize reads a number of bytes, of KiB with a k behind it, of MiB or of GiB.
func parseSize(text string) (*int64, error) {
	if text == unlimited {
		none := int64(-1)
		return &none, nil
	}
	digits, shift := text, 0
	if i := strings.LastIndexAny(strings.ToLower(text), "kmg"); i >= 0 && i == len(text)-1 {
		digits, shift = text[:i], 10*(1+strings.Index("kmg", strings.ToLower(text[i:])))
	}
	n, err := parseNumber(digits, 1, math.MaxInt64>>shift)
	if err != nil {
		return nil, hint.Add(err, "a size is in bytes, or as in 64k, 64m, 1g; no limit is max")
	}
	n <<= shift
	return &n, nil
}

// parseNumber reads a whole number between two.
func parseNumber(text string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, errors.New("not a number")
	case n < least:
		return 0, fmt.Errorf("must be at least %d", least)
	case err != nil || n > most:
		return 0, fmt.Errorf("must be at most %d", most)
	}
	return n, nil
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

// period is the stretch of time over which the kernel counts a group's
// processor time, in microseconds; this is its default.
const period = 100_000

// setCPUs: the least that the kernel gives out is 1 ms of each period, the most
// is far from it.
func setCPUs(r *specs.LinuxResources, value string) error {
	p, quota := uint64(period), int64(-1)
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
		quota = int64(n * period)
	}
	r.CPU.Period, r.CPU.Quota = &p, &quota
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

// blockDevice reads a device's number, or looks it up by its name in /dev.
func blockDevice(text string) (major, minor int64, err error) {
	if !strings.HasPrefix(text, "/") {
		return deviceNumber(text, 0)
	}
	var st unix.Stat_t
	if err := unix.Stat(text, &st); err != nil {
		return 0, 0, fmt.Errorf("device %q: %w", text, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, hint.Add(fmt.Errorf("device %q: %w", text, unix.ENOTBLK), "those that there are: lsblk")
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), nil
}

// deviceNumber reads MAJOR:MINOR. Where least is −1, so is "*", which is all.
func deviceNumber(text string, least int64) (major, minor int64, err error) {
	front, back, found := strings.Cut(text, ":")
	if !found {
		return 0, 0, fmt.Errorf("device %q: want MAJOR:MINOR", text)
	}
	for _, part := range []struct {
		text string
		to   *int64
	}{{front, &major}, {back, &minor}} {
		if part.text == "*" && least < 0 {
			*part.to = -1
		} else if *part.to, err = parseNumber(part.text, 0, math.MaxUint32); err != nil {
			return 0, 0, fmt.Errorf("device %q: %w", text, err)
		}
	}
	return major, minor, nil
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

// size is a number of bytes for people, as df(1) has it.
func size(n uint64) string {
	if n == cgroup.NoLimit {
		return unlimited
	}
	if n < 1<<10 {
		return fmt.Sprintf("%dB", n)
	}
	value, unit := float64(n), -1
	for ; value >= 1024 && unit < 4; unit++ {
		value /= 1024
	}
	return strconv.FormatFloat(math.Round(value*10)/10, 'f', -1, 64) + "KMGTP"[unit:unit+1]
}

// notRoot is an error unless this process is root.
func notRoot(doing string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return hint.Add(fmt.Errorf("%s: %w", doing, unix.EPERM), "containers of this chapter are root's: run it as root, with sudo for example")
}
