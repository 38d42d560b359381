// Package netdevice moves a network device of the host into the network namespace of
// a container: netdevice(7), network_namespaces(7). runtime-spec config-linux.md,
// "Network Devices".
//
// The kernel closes a device that moves and takes its addresses from it; the
// specification wants those back that somebody has set for good. When the namespace
// ends, the kernel gives a physical device back to the first one, and a virtual
// device is gone: what a container gets is not the runtime's to take back.
package netdevice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// CheckName refuses what the kernel takes for no device's name. A "%d" in a new name
// stands for the first number that is free.
func CheckName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r\x00") {
		return fmt.Errorf("%q is not the name of a network device: want 1 to %d bytes without slash, colon or space", name, unix.IFNAMSIZ-1)
	}
	return nil
}

// Move moves the device of this network namespace into another one, under a new name
// unless that is "", gives it the addresses that it had (those set by somebody, of
// global scope), and switches it on. After an error the device is where it was, if
// that can be.
func Move(name, newName string, to *os.File) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("move network device %q into the container: %w", name, err)
		}
	}()
	here, err := dial()
	if err != nil {
		return err
	}
	defer here.close()
	there, err := dialIn(to)
	if err != nil {
		return err
	}
	defer there.close()
	if newName == "" {
		newName = name
	}
	d, err := here.find(name)
	if err != nil {
		return hint.Add(err, "linux.netDevices names devices of the host: ip link")
	}
	if _, err := there.find(newName); err == nil {
		return hint.Add(fmt.Errorf("name %q: %w", newName, unix.EEXIST), `the container has such a device; "name" chooses another name, "eth%d" one that is free`)
	}
	moved, err := d.move(here, there, newName, to)
	if err != nil {
		return err
	}
	moved.flags |= unix.IFF_UP
	if err := moved.configure(there); err != nil {
		return errors.Join(err, d.back(moved, here, there))
	}
	return nil
}

// A device is what must be known of one.
type device struct {
	name      string
	index     uint32
	flags     uint32
	addresses []address
}

// An address is one of a device: an ifaddrmsg of rtnetlink(7), without the index, and
// the attributes that say more of it.
type address struct {
	family, prefix, scope byte
	attributes            []byte
}

// linkMessage is an ifinfomsg of rtnetlink(7): for the device, change these of its
// flags.
func linkMessage(index, flags, change uint32) []byte {
	m := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(m[4:], index)
	binary.NativeEndian.PutUint32(m[8:], flags)
	binary.NativeEndian.PutUint32(m[12:], change)
	return m
}

// find finds a device by its name.
func (s *socket) find(name string) (*device, error) {
	answers, err := s.do(unix.RTM_GETLINK, 0, appendAttribute(linkMessage(0, 0, 0), unix.IFLA_IFNAME, append([]byte(name), 0)))
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 || len(answers[0].Data) < unix.SizeofIfInfomsg {
		return nil, unix.EBADMSG
	}
	data := answers[0].Data
	d := &device{name: name, index: binary.NativeEndian.Uint32(data[4:]), flags: binary.NativeEndian.Uint32(data[8:])}
	if d.addresses, err = s.addresses(d.index); err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return d, nil
}

// addresses are those of a device that shall move with it: of global scope, and
// without an end.
func (s *socket) addresses(index uint32) (all []address, err error) {
	answers, err := s.do(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	for _, answer := range answers {
		data := answer.Data
		if len(data) < unix.SizeofIfAddrmsg || binary.NativeEndian.Uint32(data[4:]) != index {
			continue
		}
		a := address{family: data[0], prefix: data[1], scope: data[3]}
		flags := uint32(data[2])
		for kind, value := range attributes(data[unix.SizeofIfAddrmsg:]) {
			switch kind {
			case unix.IFA_FLAGS:
				flags = binary.NativeEndian.Uint32(value)
			case unix.IFA_ADDRESS, unix.IFA_LOCAL, unix.IFA_BROADCAST, unix.IFA_RT_PRIORITY:
				a.attributes = appendAttribute(a.attributes, kind, value)
			}
		}
		if flags&unix.IFA_F_PERMANENT == 0 || a.scope != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		const chosen = unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS | unix.IFA_F_NOPREFIXROUTE // the others are the kernel's
		a.attributes = appendAttribute(a.attributes, unix.IFA_FLAGS, word(flags&chosen))
		all = append(all, a)
	}
	return all, nil
}

// move moves a device that is not in use. Its number may be taken over there: then it
// gets another one, by which it is found again, whatever name a "%d" has become.
func (d *device) move(from, to *socket, name string, ns *os.File) (*device, error) {
	const tries = 1000
	if _, err := from.do(unix.RTM_NEWLINK, 0, linkMessage(d.index, 0, unix.IFF_UP)); err != nil {
		return nil, fmt.Errorf("switch it off: %w", err)
	}
	moved := *d
	for moved.index < d.index+tries {
		m := appendAttribute(linkMessage(d.index, 0, 0), unix.IFLA_IFNAME, append([]byte(name), 0))
		m = appendAttribute(m, unix.IFLA_NET_NS_FD, word(uint32(ns.Fd())))
		m = appendAttribute(m, unix.IFLA_NEW_IFINDEX, word(moved.index))
		_, err := from.do(unix.RTM_NEWLINK, 0, m)
		switch {
		case errors.Is(err, unix.EBUSY):
			moved.index++
			continue
		case err != nil:
			return nil, errors.Join(hint.Add(err, refused(err)), d.configure(from))
		}
		return &moved, nil
	}
	return nil, errors.Join(unix.EBUSY, d.configure(from))
}

// refused is why a device does not move.
func refused(err error) string {
	switch {
	case errors.Is(err, unix.EINVAL):
		return "some devices belong to their network namespace: the loopback, bridges, tunnels"
	case errors.Is(err, unix.EPERM):
		return "moving a device needs CAP_NET_ADMIN in both network namespaces; an ordinary user has it in neither"
	}
	return ""
}

// configure gives a device its addresses, and switches it on if it was.
func (d *device) configure(s *socket) error {
	for _, a := range d.addresses {
		m := binary.NativeEndian.AppendUint32([]byte{a.family, a.prefix, 0, a.scope}, d.index)
		_, err := s.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, append(m, a.attributes...))
		if err != nil {
			return fmt.Errorf("set address: %w", err)
		}
	}
	if _, err := s.do(unix.RTM_NEWLINK, 0, linkMessage(d.index, d.flags&unix.IFF_UP, unix.IFF_UP)); err != nil {
		return fmt.Errorf("switch it on: %w", err)
	}
	return nil
}

// back moves a device back to where it was.
func (d *device) back(moved *device, here, there *socket) error {
	home, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	again, err := moved.move(there, here, d.name, home)
	if err != nil {
		return fmt.Errorf("move it back: %w", err)
	}
	again.flags = d.flags
	return again.configure(here)
}
