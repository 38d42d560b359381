package namespace

import (
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/hint"
)

// Who is who in a user namespace: /proc/PID/uid_map and gid_map,
// user_namespaces(7).

// WriteMaps writes the id maps of a new user namespace, given by a process in
// it: user_namespaces(7), "Defining user and group ID mappings". The process
// must wait meanwhile: until then its ids are those of nobody.
func WriteMaps(pid int, uids, gids []specs.LinuxIDMapping) error {
	if len(uids) == 0 || len(gids) == 0 {
		return errors.New("a new user namespace needs both uidMappings and gidMappings")
	}
	if err := writeMap(pid, "uid_map", uids); err != nil {
		return err
	}
	return writeMap(pid, "gid_map", gids)
}

// writeMap writes one map. The kernel takes it in a single write only.
func writeMap(pid int, name string, mappings []specs.LinuxIDMapping) error {
	var b strings.Builder
	for _, m := range mappings {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	path := fmt.Sprintf("/proc/%d/%s", pid, name)
	if err := os.WriteFile(path, []byte(b.String()), 0); err != nil {
		return hint.Add(fmt.Errorf("write %s %q: %w", name, strings.TrimSpace(b.String()), err),
			"the ids must exist in this user namespace, and mapping other ids than one's own needs CAP_SETUID and CAP_SETGID in it")
	}
	return nil
}
