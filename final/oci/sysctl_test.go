package oci_test

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestASysctlOfTheContainersNamespacesIsWritten(t *testing.T) {
	for _, c := range []struct{ name, file string }{
		{"net.ipv4.ip_forward", `"sys/net/ipv4/ip_forward"`},
		{"fs.mqueue.msg_max", `"sys/fs/mqueue/msg_max"`},
		{"kernel.msgmax", `"sys/kernel/msgmax"`},
		{"kernel.sem", `"sys/kernel/sem"`},
		{"kernel.shm_rmid_forced", `"sys/kernel/shm_rmid_forced"`},
		{"kernel.domainname", `"sys/kernel/domainname"`},
		{"net.ipv4.conf.eth0/7.forwarding", `"sys/net/ipv4/conf/eth0.7/forwarding"`},
		{"net/ipv4/conf/eth0.7/forwarding", `"sys/net/ipv4/conf/eth0.7/forwarding"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := planOf(t, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{c.name: "17"} })
			if err != nil {
				t.Fatal(err)
			}
			// Through the host's /proc: the container's could be one that the
			// image has put there (CVE-2025-52881).
			inOrder(t, p.String(), "openat2(proc", c.file, "O_WRONLY", "RESOLVE_NO_XDEV|RESOLVE_NO_MAGICLINKS|RESOLVE_BENEATH", "write", `"17"`, "pivot_root")
		})
	}
}

func TestASysctlOfTheHostIsRefused(t *testing.T) {
	nothing := func(*specs.Spec) {}
	const host = "belongs to the host"
	for _, c := range []struct {
		name, want string
		change     func(*specs.Spec)
	}{
		{"kernel.core_pattern", host, nothing},
		{"kernel.hostname", host, nothing},
		{"vm.swappiness", host, nothing},
		{"fs.file-max", host, nothing},
		{"net.ipv4.ip_forward", host, without(specs.NetworkNamespace)},
		{"kernel.shmmax", host, without(specs.IPCNamespace)},
		{"fs.mqueue.msg_max", host, without(specs.IPCNamespace)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := planOf(t, func(s *specs.Spec) {
				c.change(s)
				s.Linux.Sysctl = map[string]string{c.name: "1"}
			})
			refused(t, err, c.name, c.want)
		})
	}
}

// CVE-2022-0811: "kernel.shm_rmid_forced=1+kernel.core_pattern" got a second
// parameter past the check of the first.
func TestANameThatIsMoreThanANameIsRefused(t *testing.T) {
	for _, name := range []string{
		"kernel.shm_rmid_forced=1+kernel.core_pattern", "kernel.shm+kernel.core_pattern", "net.a b", "net.\n",
		"kernel.shm/../core_pattern", "net..ipv4", "net./etc", "/net.ipv4.ip_forward", "net/../../kernel/core_pattern", "net/./x", "net//x", "net.", "net", "", "..", "net.ä.x", "net.\x00.x",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planOf(t, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{name: "1"} })
			refused(t, err, "is not the name of a kernel parameter")
		})
	}
}
