package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Who this process is: its names, ids and namespaces. See uname(2),
// credentials(7), user_namespaces(7), namespaces(7).

func hostname(out io.Writer) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	fmt.Fprintln(out, "hostname", unix.ByteSliceToString(name.Nodename[:]))
	fmt.Fprintln(out, "domainname", unix.ByteSliceToString(name.Domainname[:]))
	return nil
}

// process prints 0 for a parent, a session or a process group that is in
// another pid namespace and so has no number here.
func process(out io.Writer) error {
	session, err := unix.Getsid(0)
	if err != nil {
		return fmt.Errorf("getsid: %w", err)
	}
	fmt.Fprintln(out, "pid", os.Getpid())
	fmt.Fprintln(out, "ppid", os.Getppid())
	fmt.Fprintln(out, "sid", session)
	fmt.Fprintln(out, "pgid", unix.Getpgrp())
	return nil
}

func ids(out io.Writer) error {
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	fmt.Fprintln(out, "uid", ruid, euid, suid)
	fmt.Fprintln(out, "gid", rgid, egid, sgid)
	groups, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("getgroups: %w", err)
	}
	for _, group := range groups {
		fmt.Fprintln(out, "group", group)
	}
	for _, file := range []string{"uid_map", "gid_map", "setgroups"} {
		text, err := os.ReadFile("/proc/self/" + file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			fmt.Fprintln(out, file, strings.Join(strings.Fields(line), " "))
		}
	}
	return nil
}

// namespaces prints what tells a namespace from another: kind and inode.
func namespaces(out io.Writer) error {
	const dir = "/proc/self/ns"
	links, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, link := range links {
		target, err := os.Readlink(filepath.Join(dir, link.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "namespace", link.Name(), target)
	}
	return nil
}
