package main

import (
	"encoding/json"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"

	"skiff.example/final/commandline"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage02-namespaces/namespace"
)

// features: what this runtime recognizes, whether or not the kernel beneath has it:
// runtime-spec features.md, features-linux.md.

func featuresCommand() commandline.Command {
	return commandline.Command{
		Usage: "print what this runtime knows",
		Action: func(*commandline.Context) error {
			encoder := json.NewEncoder(os.Stdout)
			encoder.SetIndent("", "    ")
			return encoder.Encode(knownFeatures())
		},
	}
}

func knownFeatures() *features.Features {
	yes, no := true, false
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  mount.Words(),
		Linux: &features.Linux{
			Namespaces:      namespaceTypes(),
			Capabilities:    plan.CapabilityNames(),
			Cgroup:          &features.Cgroup{V1: &yes, V2: &yes, Systemd: &no, SystemdUser: &no, Rdma: &yes},
			Seccomp:         seccompFeatures(),
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &yes, Schemata: &yes, Monitoring: &yes},
			MemoryPolicy:    memoryPolicies(),
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &yes},
		},
		Annotations: map[string]string{"example.skiff.version": version},
	}
}

func namespaceTypes() []string {
	var all []string
	for _, k := range namespace.Kinds {
		all = append(all, string(k.Type))
	}
	return all
}

func memoryPolicies() *features.MemoryPolicy {
	return &features.MemoryPolicy{
		Modes: []string{
			"MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE",
		},
		Flags: []string{"MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"},
	}
}

func seccompFeatures() *features.Seccomp {
	yes := true
	known := []string{
		"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
	}
	supported := known
	if !hasFilterFlag(unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) { // Linux 5.19; the others are older than what skiff needs
		supported = known[:3]
	}
	return &features.Seccomp{
		Enabled: &yes,
		Actions: []string{
			"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
			"SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
		},
		Operators: []string{
			"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
		},
		Archs: []string{
			"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPSEL",
			"SCMP_ARCH_MIPSEL64", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390X",
			"SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64",
		},
		KnownFlags:     known,
		SupportedFlags: supported,
	}
}

// hasFilterFlag asks the kernel for a filter at no address: a flag that it does not
// know is EINVAL, before it looks at the address (EFAULT): seccomp(2).
func hasFilterFlag(flag uintptr) bool {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flag|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, 0)
	return errno == unix.EFAULT
}
