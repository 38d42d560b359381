package rootfs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/binfmt"
)

// Programs of this host, and what the kernel needs to start them: execve(2).

// FromPrograms plans a root file system with programs of this host, given by
// path or by a name that is looked up in $PATH, and all that they need:
//
//   - the interpreter and the libraries of an ELF program (ld.so(8)), links as
//     links, so that each path is the same as on the host;
//   - the interpreter of a script, and the program that `#!/usr/bin/env`
//     starts, with all that these need;
//   - the modules that a C library loads to look up names of users and hosts.
//
// What a program opens only while it runs cannot be seen in it: plug-ins, data
// files, other programs that a script calls. Give those programs too, or Add
// the files. Also not copied are extended attributes (file capabilities).
//
// Beside the programs there are the usual directories, /etc/passwd, /etc/group
// and /etc/hosts.
func FromPrograms(names ...string) (*Closure, error) {
	c := &Closure{programs: map[string]bool{}}
	if err := c.addSkeleton(); err != nil {
		return nil, err
	}
	for _, name := range names {
		program, err := findProgram(name)
		if err != nil {
			return nil, err
		}
		if err := c.addProgram(program, "program"); err != nil {
			return nil, fmt.Errorf("add program %q: %w", name, err)
		}
	}
	return c, nil
}

// findProgram returns the absolute path of a program.
func findProgram(name string) (string, error) {
	found, err := exec.LookPath(name)
	if err != nil {
		return "", hint.Add(fmt.Errorf("find program: %w", err),
			"is its package installed, and its folder in PATH?")
	}
	return filepath.Abs(found)
}

// addProgram adds a program and what it needs. A script may name itself as its
// interpreter, so each program is looked into only once.
func (c *Closure) addProgram(program, why string) error {
	source, err := c.addPath(program, why)
	if err != nil || c.programs[source] {
		return err
	}
	c.programs[source] = true
	start, err := readStart(source)
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(start, []byte("#!")):
		return c.addInterpreter(program, start)
	case binfmt.IsELF(start):
		return c.addLibraries(program, source)
	}
	return hint.Add(fmt.Errorf("%q is neither an ELF program nor a script", program),
		"a script starts with a line like #!/bin/sh")
}

func readStart(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return binfmt.Start(file)
}
