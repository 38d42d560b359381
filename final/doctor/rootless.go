package doctor

// This file checks what keeps ordinary users from making user namespaces:
// user_namespaces(7), and the switches that distributions have added. Root is
// not concerned, so nothing here is more than a warning.

func rootlessChecks() []Check {
	return []Check{
		{"user ns, not as root", 2, lookAtUserNamespaces},
		{"AppArmor", 2, lookAtAppArmor},
	}
}

// lookAtUserNamespaces reads the two switches: namespaces(7) has the first;
// the second is a patch of Debian's, which Ubuntu and Arch carry too.
func lookAtUserNamespaces(h Host) Result {
	if h.read("proc/sys/user/max_user_namespaces") == "0" {
		return warn("forbidden: user.max_user_namespaces is 0", "sysctl user.max_user_namespaces=15000")
	}
	if h.read("proc/sys/kernel/unprivileged_userns_clone") == "0" {
		return warn("forbidden: kernel.unprivileged_userns_clone is 0", "sysctl kernel.unprivileged_userns_clone=1")
	}
	return ok("no sysctl forbids them")
}

// lookAtAppArmor reads the restriction that Ubuntu has had since 23.10: a
// program without a profile that allows it may make a user namespace, but has
// no capabilities inside, so that mounting fails there.
func lookAtAppArmor(h Host) Result {
	const file = "kernel/apparmor_restrict_unprivileged_userns"
	switch h.read("proc/sys/" + file) {
	case "":
		return ok("does not restrict user namespaces")
	case "0":
		return ok("could restrict user namespaces, but is told not to")
	}
	return warn("gives an ordinary user's user namespaces no capabilities",
		"run skiff as root, or: sysctl kernel.apparmor_restrict_unprivileged_userns=0")
}
