// Package clients has no code but tests: those for whom an OCI runtime is
// made use ours. podman, dockerd, containerd's ctr and buildah, as Debian
// packages them, get it in the place of runc, by the option that each of them
// has for it, and run, attach to, pause, limit, signal and remove containers.
// What they say and what the kernel shows is compared with what a user
// expects.
//
// The same tests hold for every runtime, and were written with runc:
//
//	go test ./clients -runtime=/usr/sbin/runc
//
// A test that fails with runc too says something about the machine or the
// client. Without the flag it is skiff-oci, built from this tree.
//
// The clients run in a network namespace (network_namespaces(7)) and a mount
// namespace (mount_namespaces(7)) of the tests' own, in which /run is empty
// and what is written to /etc and /var goes to memory, so that nothing of
// theirs can stay. Control groups have no such place: each client makes its
// own below a group of the test, which is looked through and removed.
package clients
