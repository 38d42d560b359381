// The device filter of cgroup v2: a BPF program that the kernel runs each time
// a process of the group opens a device or makes a node (kernel documentation,
// admin-guide/cgroup-v2, "Device controller"). It is handed struct
// bpf_cgroup_dev_ctx of linux/bpf.h, and answers 1, allowed, or 0, EPERM.
//
// Later rules win, so the program tries them from the last to the first, and
// the first that speaks of the device decides. It decides for each kind of
// access apart: where one rule allows reading and another writing, a process may
// open the device for both. So each list of rules has a program that means the
// same, also those that v1 cannot keep (devicelist.go).

package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/bpf"
)

// filterName is what our programs are called: a group may also have a filter of
// systemd's, which is not ours to replace.
const filterName = "skiff_devices"

// What the registers hold while the rules are tried.
const (
	regVerdict = bpf.R0
	regContext = bpf.R1
	regKind    = bpf.R2 // BPF_DEVCG_DEV_CHAR or BPF_DEVCG_DEV_BLOCK
	regAccess  = bpf.R3 // the BPF_DEVCG_ACC_… asked for and not allowed yet
	regMajor   = bpf.R4
	regMinor   = bpf.R5
)

// deviceFilter compiles the rules. What none of them speaks of is allowed if
// otherwise says so.
func deviceFilter(rules []deviceRule, otherwise bool) []bpf.Instruction {
	code := []bpf.Instruction{
		// The first word is the kind of access << 16 | the kind of device.
		bpf.Load(regAccess, regContext, 0),
		bpf.Copy(regKind, regAccess),
		bpf.And(regKind, 0xffff),
		bpf.ShiftRight(regAccess, 16),
		bpf.Load(regMajor, regContext, 4),
		bpf.Load(regMinor, regContext, 8),
	}
	for _, rule := range slices.Backward(rules) {
		code = append(code, rule.instructions()...)
	}
	return append(code, answer(otherwise)...)
}

// answer ends the program.
func answer(allow bool) []bpf.Instruction {
	if allow {
		return []bpf.Instruction{bpf.Set(regVerdict, 1), bpf.Exit()}
	}
	return []bpf.Instruction{bpf.Set(regVerdict, 0), bpf.Exit()}
}

// instructions compiles one rule: does it speak of this device, does it speak
// of this access, and then the answer. Each "no" jumps behind it.
func (d deviceRule) instructions() []bpf.Instruction {
	type test struct {
		register bpf.Register
		want     int64
	}
	tests := []test{{regKind, unix.BPF_DEVCG_DEV_CHAR}, {regMajor, d.major}, {regMinor, d.minor}}
	if d.kind == 'b' {
		tests[0].want = unix.BPF_DEVCG_DEV_BLOCK
	}
	tests = slices.DeleteFunc(tests, func(t test) bool { return t.want == wildcard })

	decide := append(d.decideAccess(), answer(d.allow)...)
	var code []bpf.Instruction
	for i, t := range tests {
		skip := len(tests) - i - 1 + len(decide)
		code = append(code, bpf.JumpUnless(t.register, int32(uint32(t.want)), int16(skip)))
	}
	return append(code, decide...)
}

// decideAccess compiles whether the answer follows for the access that was
// asked for. One thing forbidden is enough to refuse all of it. What is allowed
// is crossed off, and an earlier rule must allow the rest.
func (d deviceRule) decideAccess() []bpf.Instruction {
	const behindAnswer = 2
	switch bits := d.accessBits(); {
	case bits == allAccess:
		return nil
	case d.allow:
		return []bpf.Instruction{bpf.And(regAccess, ^bits), bpf.JumpUnless(regAccess, 0, behindAnswer)}
	default:
		return []bpf.Instruction{bpf.JumpIfAny(regAccess, bits, 1), bpf.Jump(behindAnswer)}
	}
}

// allAccess is "rwm".
const allAccess = unix.BPF_DEVCG_ACC_READ | unix.BPF_DEVCG_ACC_WRITE | unix.BPF_DEVCG_ACC_MKNOD

// accessBits returns the rule's access in the kernel's numbers.
func (d deviceRule) accessBits() int32 {
	var bits int32
	for _, a := range [...]struct {
		letter string
		bit    int32
	}{{"r", unix.BPF_DEVCG_ACC_READ}, {"w", unix.BPF_DEVCG_ACC_WRITE}, {"m", unix.BPF_DEVCG_ACC_MKNOD}} {
		if strings.Contains(d.access, a.letter) {
			bits |= a.bit
		}
	}
	return bits
}

// fromLastReset drops the rules up to the last that speaks of everything, and
// returns what that one says: of those before it, nothing is left. reset is
// false if there is none.
func fromLastReset(rules []deviceRule) (left []deviceRule, allow, reset bool) {
	for i, rule := range slices.Backward(rules) {
		if rule.kind == 'a' {
			return rules[i+1:], rule.allow, true
		}
	}
	return rules, true, false
}

// setFilter gives the group dir a filter that keeps the rules, in the place of
// the one that it has.
func setFilter(dir string, rules []deviceRule) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cgroup: open %q: %w", dir, err)
	}
	defer unix.Close(fd)
	left, otherwise, reset := fromLastReset(rules)
	all := otherwise && !slices.ContainsFunc(left, func(d deviceRule) bool { return !d.allow })
	old, err := currentFilter(fd)
	if all && errors.Is(err, unix.EPERM) {
		return nil // who may not ask for filters has attached none
	}
	if err != nil {
		return fmt.Errorf("cgroup: device filter of %q: %w", dir, err)
	}
	if all && old == nil {
		return nil // a new group may do everything
	}
	if old != nil {
		defer old.Close()
		if !reset {
			err := invalid("devices: the rules of %q cannot be added to: cgroup v2 replaces them as a whole", dir)
			return hint.Add(err, `begin the list with what shall hold for all devices: {"allow": false, "access": "rwm"}`)
		}
	}
	if err := replaceFilter(fd, deviceFilter(left, otherwise), old); err != nil {
		return fmt.Errorf("cgroup: device filter of %q: %w", dir, err)
	}
	return nil
}

// currentFilter returns our program that is attached to the group, or nil.
func currentFilter(group int) (*bpf.Program, error) {
	ids, err := bpf.DeviceFilters(group)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		p, err := bpf.Open(id)
		if err != nil {
			return nil, err
		}
		name, err := p.Name()
		if err == nil && name == filterName {
			return p, nil
		}
		p.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// replaceFilter loads the program and attaches it in the place of old.
func replaceFilter(group int, code []bpf.Instruction, old *bpf.Program) error {
	p, err := bpf.LoadDeviceFilter(filterName, code)
	if errors.Is(err, unix.E2BIG) {
		return hint.Add(err, "these are more rules than the kernel can check: rules for all access (rwm) take it the least, and wildcards save many")
	}
	if err != nil {
		return err
	}
	defer p.Close()
	err = bpf.AttachDeviceFilter(group, p, old)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	return hint.Add(err, "a group above may have a filter that suffers no other below it (attached without BPF_F_ALLOW_MULTI): bpftool cgroup tree")
}
