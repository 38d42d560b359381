// Command guest is the first process of the virtual machine: it mounts what
// the kernel offers, loads the modules that it was given, runs the jobs of its
// order one after another, reports what they say (package vm/wire), and turns
// the machine off.
//
// It runs as /init of an initramfs, see ramfs-rootfs-initramfs.rst in the
// kernel's documentation, and on nothing else: a look at its pid keeps it from
// mounting over the host of somebody who starts it by hand.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/course/vm/wire"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: it is the first process of a virtual machine, or nothing")
		os.Exit(1)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err) // to the kernel's console
	}
	// Without it the kernel panics when its first process ends.
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "guest: power off:", err)
	}
}

// run makes the machine usable, and does the jobs. Until it can report, what
// goes wrong is seen on the console only.
func run() error {
	if err := enterRoot(); err != nil {
		return err
	}
	if err := mountAll(); err != nil {
		return err
	}
	host, err := openHost()
	if err != nil {
		return err
	}
	last := wire.Event{Ended: true}
	if err := work(host); err != nil {
		last = wire.Event{Error: err.Error()}
	}
	return errors.Join(host.say(last), host.drain())
}

// work follows the order.
func work(host *host) error {
	text, err := os.ReadFile(wire.OrderFile)
	if err != nil {
		return err
	}
	var order wire.Order
	if err := json.Unmarshal(text, &order); err != nil {
		return fmt.Errorf("%s: %w", wire.OrderFile, err)
	}
	if err := loadModules(order.Modules); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	for _, job := range order.Jobs {
		if err := host.run(job); err != nil {
			return err
		}
	}
	return nil
}
