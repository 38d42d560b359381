package namespace

import "os"

// The first user namespace, which the kernel begins with. Some things only root in
// there may do, whatever capabilities one has elsewhere: making device nodes,
// mounting disks. See user_namespaces(7), "Capabilities".

// firstUser is its identity, the same on every kernel since Linux 3.8:
// PROC_USER_INIT_INO, include/linux/proc_ns.h.
const firstUser = "user:[4026531837]"

// InFirstUser tells whether this process is in the first user namespace. Where
// there is no /proc to tell, it is taken to be.
func InFirstUser() bool {
	link, err := os.Readlink("/proc/self/ns/user")
	return err != nil || link == firstUser
}
