package image

// Small files: read whole with a bound, written so that a reader sees the old
// or the new content and never half of it (rename(2) is atomic).

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// readBounded reads a file of at most MaxJSON bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, MaxJSON+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxJSON {
		return nil, fmt.Errorf("read %q: larger than %d bytes", path, MaxJSON)
	}
	return raw, nil
}

// writeJSON replaces the file at path. After it returned nil the new content
// survives a power cut: fsync(2) of the file, then of the folder with its name.
// The temporary file has a fixed name, since the caller holds the store's lock.
func writeJSON(path string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	if len(raw) >= MaxJSON { // readBounded would not read it any more
		return fmt.Errorf("write %q: larger than %d bytes", path, MaxJSON)
	}
	temp := path + ".new"
	if err := writeSynced(temp, append(raw, '\n')); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// writeSynced writes a file and waits until it is on the disk.
func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// syncFolder waits until the names in dir are on the disk.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncAll waits until all that was written to the file system of dir is on the
// disk: one syncfs(2) for thousands of files in place of an fsync(2) each.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncfs %q: %w", dir, err)
	}
	return nil
}
