package vm

// This file is the one place that says what our tests have in the virtual
// machine and which of them run there: packages whose subject looks different
// where control groups are version 2 only, or that stand on what the kernel
// has as modules there (overlay, bridge, nf_tables). All other tests run on
// the host alone.

import "slices"

// Package is a package whose tests run in the virtual machine.
type Package struct {
	Dir       string    // from the root of the tree
	OnRequest string    // why its tests run only when they are asked for; "" if they always do
	Always    string    // those that always do, a regular expression as for go test -run
	Programs  []string  // what its tests build beside the programs in its own folder and testdata, from the root of the tree
	LeftOut   []LeftOut // its tests that do not run there

	run string // only these tests; "" is all
}

// LeftOut are tests that do not run in the virtual machine.
type LeftOut struct {
	Tests string // a regular expression, as for go test -skip
	Why   string
}

const (
	slow    = "emulation takes minutes for what the host does in seconds"
	similar = "little is different there, and emulation takes a minute for it"
)

// suite is all that can run there.
var suite = []Package{
	{Dir: "stage03-cgroups", LeftOut: []LeftOut{
		{"^TestAThousandGroups$|^TestKilledAtEverySystemCall$", slow},
	}},
	{Dir: "stage03-cgroups/bpf"},
	{Dir: "stage03-cgroups/cgroup"},
	{Dir: "stage03-cgroups/state"},
	{Dir: "stage02-namespaces/container"},
	{Dir: "stage04-overlay/overlay"},
	{Dir: "final/container"},

	{Dir: "stage03-cgroups/journal", OnRequest: similar},
	{Dir: "stage02-namespaces/launch", OnRequest: similar, LeftOut: []LeftOut{
		{"^TestTheContainerInCMakesTheSameCalls$|^TestSkiffIsComparedWithC$", "they compile C"},
	}},
	{Dir: "stage02-namespaces/namespace", OnRequest: similar, LeftOut: []LeftOut{
		{"^TestAll256CombinationsOfNewNamespaces$", slow},
	}},
	{Dir: "stage02-namespaces/mount", OnRequest: similar},
	{Dir: "stage02-namespaces/pid1", OnRequest: similar},
	{Dir: "stage02-namespaces/look", OnRequest: similar},
	{Dir: "stage04-overlay", OnRequest: similar, LeftOut: []LeftOut{
		{"^TestKilledAtEverySystemCall$|^TestTheDemonstration$", slow},
	}},
	{Dir: "stage06-network/network", OnRequest: similar, LeftOut: []LeftOut{
		{"^TestKilledWhile", "killed at every system call, under strace: " + slow},
	}},
	// criu cannot work on kernels that are newer than it.
	{Dir: "final/cmd/skiff-oci", OnRequest: similar, Always: "^TestCheckpoint", LeftOut: []LeftOut{
		{"^TestWhatIsWrongIsAnErrorOfCreate$|^TestABundleThatIsWrong$", slow},
	}},
}

// All returns every package whose tests can run in the virtual machine.
func All() []Package { return slices.Clone(suite) }

// Suite returns those whose tests always do, with these: what `make test-v2` runs.
func Suite() []Package {
	some := slices.DeleteFunc(All(), func(p Package) bool { return p.OnRequest != "" && p.Always == "" })
	for i := range some {
		some[i].run = some[i].Always
	}
	return some
}

// PackageIn returns the package in a folder, as the list has it if it does.
func PackageIn(dir string) Package {
	for _, p := range suite {
		if p.Dir == dir {
			return p
		}
	}
	return Package{Dir: dir}
}

// allowedSkips are what a test may say when it skips itself in the virtual
// machine. Nothing else may be missing there.
const allowedSkips = `needs cgroup v1 hierarchies`

// everyTestBuilds is what a package's tests may build wherever they are.
var everyTestBuilds = []string{"stage01-chroot/testkit/probe"}

// programs of the host that the tests start; they come with their libraries.
var programs = []string{
	"awk", "basename", "bash", "busybox", "cat", "chgrp", "chmod", "chown", "chroot", "cmp", "cp", "criu", "cut", "date",
	"dd", "df", "diff", "dirname", "du", "echo", "env", "expr", "false", "find", "getent", "grep", "gzip", "head",
	"hostname", "id", "install", "ip", "kill", "ln", "losetup", "ls", "lsns", "mkdir", "mke2fs", "mkfifo", "mknod",
	"mktemp", "mount", "mountpoint", "mv", "newgidmap", "newuidmap", "nft", "nproc", "nsenter", "od", "ping",
	"printf", "prlimit", "ps", "pwd", "readlink", "realpath", "rm", "rmdir", "runc", "sed", "seq", "setpriv",
	"setsid", "sh", "sleep", "sort", "stat", "stdbuf", "strace", "stty", "sync", "tail", "taskset", "tar", "tee",
	"test", "timeout", "touch", "tr", "true", "truncate", "tty", "umount", "uname", "uniq", "unshare", "wc", "xargs",
	"yes",
}

// directories that a machine has beside those of rootfs.FromPrograms.
var directories = []string{"home", "media", "mnt", "opt", "srv", "var/cache", "var/lib", "var/log"}

// Modules of the kernel that the tests need. Those that these need come along.
var Modules = []string{
	"overlay", "loop", "ext4", "crc32c_generic",
	"veth", "bridge", "dummy",
	"nf_tables", "nf_conntrack", "nf_nat", "nft_chain_nat", "nft_ct", "nft_masq", "nft_nat", "nft_redir",
	"nft_reject_inet", "nft_fib_inet", "nft_limit", "nft_log",
	"inet_diag", "tcp_diag", "udp_diag", "unix_diag", "netlink_diag", "af_packet_diag",
}
