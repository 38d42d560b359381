package testkit

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A network namespace (network_namespaces(7)) for a whole package of tests. A
// test process has many threads and a namespace belongs to each, so the only
// way to have them all in it is to be born in it: the test binary starts
// itself once more.

// inNewNetwork marks the second start. A flag and not a variable of the
// environment, since programs that the tests start would inherit that.
var inNewNetwork = flag.Bool("in-new-network", false, "this is the test binary's second start, in a network namespace of its own")

// InNewNetwork runs a package's tests in a new network namespace in which only
// the loopback link is up, and returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(testkit.InNewNetwork(m)) }
//
// Without root it runs them where they are: those that need root skip. /sys is
// still the host's, so what is below /sys/class/net does not fit.
func InNewNetwork(m *testing.M) int {
	flag.Parse()
	if os.Geteuid() != 0 {
		return m.Run()
	}
	if !*inNewNetwork {
		return runInNewNetwork()
	}
	if err := linkUp("lo"); err != nil {
		fmt.Fprintln(os.Stderr, "testkit:", err)
		return 1
	}
	return m.Run()
}

// runInNewNetwork starts this binary once more. It dies with us: go test kills
// only the process that it knows when a test takes too long.
func runInNewNetwork() int {
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends that forked: prctl(2)
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", append([]string{"-in-new-network"}, os.Args[1:]...)...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testkit: run the tests in a new network namespace:", err)
		return 1
	}
	return 0
}

// linkUp sets IFF_UP of a link: netdevice(7).
func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return fmt.Errorf("read the flags of link %q: %w", name, err)
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set link %q up: %w", name, err)
	}
	return nil
}
