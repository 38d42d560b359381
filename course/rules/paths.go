package rules

// This file looks for names of folders of the machine that the tree is checked
// on: a golden file or an example that was copied from a terminal gives them
// away, and works nowhere else.

import (
	"bytes"
	"fmt"
	"go/build"
	"os"
	"path/filepath"
	"strings"

	"skiff.example/course/report"
)

// machineFolders returns the folders that no file may name: the tree itself,
// the developer's home and Go's own. Names of a single element, such as /root,
// are also names in every container, and are left out.
func machineFolders(root string) ([]string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	var folders []string
	home, _ := os.UserHomeDir() // none is none to look for
	for _, dir := range []string{root, home, build.Default.GOPATH} {
		if strings.Count(dir, "/") > 1 {
			folders = append(folders, dir)
		}
	}
	return folders, nil
}

// checkPaths reports the lines that name such a folder. Files with a zero byte
// are not text and are passed over.
func checkPaths(root string) ([]report.Problem, error) {
	folders, err := machineFolders(root)
	if err != nil {
		return nil, err
	}
	var problems []report.Problem
	err = walk(root, ".", func(name string) error {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || bytes.IndexByte(data, 0) >= 0 {
			return err
		}
		for n, line := range strings.Split(string(data), "\n") {
			for _, folder := range folders {
				if strings.Contains(line, folder) {
					problems = append(problems, report.Problem{
						File: name, Line: n + 1,
						What: fmt.Sprintf("names %q, a folder of this machine", folder),
					})
				}
			}
		}
		return nil
	})
	return problems, err
}
