package plan

import (
	"golang.org/x/sys/unix"
)

// What a process has from whoever started it, though no namespace and no file
// descriptor shows it: its execution domain (personality(2)) and its session
// keyring (session-keyring(7)).

// The execution domains that a container may have: personality(2).
const (
	PerLinux   = 0x0000 // PER_LINUX
	PerLinux32 = 0x0008 // PER_LINUX32: uname(2) names a processor of 32 bits
)

// Personality sets the execution domain: personality(2). It also clears the flags
// that whoever started this had set, such as ADDR_NO_RANDOMIZE.
func Personality(domain int) Step {
	name := "PER_LINUX"
	if domain == PerLinux32 {
		name = "PER_LINUX32"
	}
	return call("personality", unix.SYS_PERSONALITY, []Arg{symbolArg{name, uintptr(domain)}}, "set personality %s", name)
}

// JoinSessionKeyring leaves the caller's session keyring for the one with this
// name, a new one if there is none: keyctl(2), KEYCTL_JOIN_SESSION_KEYRING. Its
// result is the keyring's serial number, for KeyringPermissions.
func JoinSessionKeyring(name string) Step {
	return call("keyctl", unix.SYS_KEYCTL, []Arg{
		symbolArg{"KEYCTL_JOIN_SESSION_KEYRING", unix.KEYCTL_JOIN_SESSION_KEYRING}, stringArg(name),
	}, "join session keyring %q", name)
}

// The permissions of a key, as keyctl(2), KEYCTL_SETPERM, has them: what its
// possessor, its owner, and others may do.
var keyPermissions = flagSet{"0", []flagName{
	{"KEY_POS_VIEW", 1 << 24},
	{"KEY_POS_READ", 1 << 25},
	{"KEY_POS_WRITE", 1 << 26},
	{"KEY_POS_SEARCH", 1 << 27},
	{"KEY_POS_LINK", 1 << 28},
	{"KEY_POS_SETATTR", 1 << 29},
	{"KEY_USR_VIEW", 1 << 16},
	{"KEY_USR_READ", 1 << 17},
	{"KEY_USR_SEARCH", KeyUserSearch},
	{"KEY_USR_LINK", 1 << 20},
	{"KEY_OTH_SEARCH", KeyOtherSearch},
}}

// The permissions that a keyring can be searched by, beside its possessor.
const (
	KeyUserSearch  = 1 << 19 // its owner: KEY_USR_SEARCH
	KeyOtherSearch = 1 << 3  // everybody else: KEY_OTH_SEARCH
)

// KeyringPermissions lets others search a session keyring, and so join it by its
// name; what a new one permits its possessor and its owner stays:
// keyctl(2), KEYCTL_SETPERM.
func KeyringPermissions(keyring Register, search uint32) Step {
	const fresh = 0x3f130000 // KEY_POS_ALL, KEY_USR_VIEW, KEY_USR_READ, KEY_USR_LINK: join_session_keyring() in the kernel
	return call("keyctl", unix.SYS_KEYCTL, []Arg{
		symbolArg{"KEYCTL_SETPERM", unix.KEYCTL_SETPERM}, keyring, flagsArg{keyPermissions, uint64(fresh | search)},
	}, "let the session keyring be searched")
}
