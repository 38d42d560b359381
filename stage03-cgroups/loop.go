// A disk for the demonstration: a loop device on a small file (loop(4)). The
// limits on block I/O are for real devices, and which of those a machine can
// spare nobody knows.

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// loopDisk makes a block device of the file at path, which is there already. Nothing
// of it outlives this process, however that ends: LO_FLAGS_AUTOCLEAR gives the
// device back to the kernel when the last one has closed it.
func loopDisk(path string) (device *os.File, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the device holds it
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, hint.Add(err, "the kernel's module for it: modprobe loop")
	}
	defer control.Close()
	const tries = 10 // another process may take the free one first
	for range tries {
		var n int
		if n, err = unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE); err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		if device, err = os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0); err != nil {
			return nil, err
		}
		config := &unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		if err = unix.IoctlLoopConfigure(int(device.Fd()), config); err == nil {
			return device, nil
		}
		device.Close()
		if err != unix.EBUSY {
			break
		}
	}
	return nil, fmt.Errorf("make a disk of %q: %w", path, err)
}
