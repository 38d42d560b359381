package namespace

import (
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Maps that the kernel would refuse, and which of its rules they break: all
// it says itself is EINVAL. user_namespaces(7), "Defining user and group ID
// mappings: writing to uid_map and gid_map".

// maxRanges is how many lines a map may have, since Linux 4.15.
const maxRanges = 340

// noID is 2^32-1, which means "no id" in setresuid(2) and elsewhere, and is
// in no map.
const noID = 1<<32 - 1

// check finds the first thing that is wrong with either map.
func (m Maps) check() error {
	if len(m.UIDs) == 0 || len(m.GIDs) == 0 {
		return errors.New("a new user namespace needs both uidMappings and gidMappings")
	}
	if err := checkMap(uidMap.field, m.UIDs); err != nil {
		return err
	}
	return checkMap(gidMap.field, m.GIDs)
}

// checkMap makes sure that each id stands for one other id. The text must be
// smaller than a page, too, or the kernel does not even read it.
func checkMap(field string, mappings []specs.LinuxIDMapping) error {
	if len(mappings) > maxRanges {
		return fmt.Errorf("%s: %d ranges are more than the %d that a map may have", field, len(mappings), maxRanges)
	}
	for i, r := range mappings {
		if err := checkRange(r); err != nil {
			return fmt.Errorf("%s: range %d: %w", field, i+1, err)
		}
		for k, other := range mappings[:i] {
			switch {
			case overlap(r.ContainerID, r.Size, other.ContainerID, other.Size):
				return fmt.Errorf("%s: ranges %d and %d overlap in the namespace", field, k+1, i+1)
			case overlap(r.HostID, r.Size, other.HostID, other.Size):
				return fmt.Errorf("%s: ranges %d and %d overlap outside of the namespace", field, k+1, i+1)
			}
		}
	}
	if size := len(mapText(mappings)); size >= os.Getpagesize() {
		return fmt.Errorf("%s: %d bytes in %d ranges are more than the kernel reads, which is less than a page", field, size, len(mappings))
	}
	return nil
}

// checkRange checks one line.
func checkRange(r specs.LinuxIDMapping) error {
	if r.Size == 0 {
		return errors.New("its size is 0")
	}
	for _, first := range []uint32{r.ContainerID, r.HostID} {
		if uint64(first)+uint64(r.Size) > noID {
			return fmt.Errorf("%d ids from %d on go beyond %d, the greatest id", r.Size, first, noID-1)
		}
	}
	return nil
}

// overlap tells whether two ranges, given by their first id and their size,
// have an id in common.
func overlap(a, sizeA, b, sizeB uint32) bool {
	return uint64(a) < uint64(b)+uint64(sizeB) && uint64(b) < uint64(a)+uint64(sizeA)
}
