package hoststate

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// The folders where a runtime writes down what it did: names and modes of all
// that is in them. A mode is compared because these folders must be closed to
// others (CVE-2021-41103 was an open one).

// stateFolders are where skiff keeps its state, by hier(7): what is valid
// until the next boot below /run, what is kept below /var/lib.
var stateFolders = []string{"/run/skiff", "/run/skiff-oci", "/run/lock/skiff", "/var/lib/skiff"}

// folders lists the state folders and everything below them.
func folders() ([]Thing, error) {
	var things []Thing
	for _, folder := range stateFolders {
		err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
			if err == nil {
				var info fs.FileInfo
				if info, err = entry.Info(); err == nil {
					things = append(things, Thing{Kind: kind(info), Name: file, Value: info.Mode().String()})
				}
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // there is none, or it was removed since
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return things, nil
}

func kind(info fs.FileInfo) string {
	if info.IsDir() {
		return "folder"
	}
	return "file"
}
