package layer_test

import (
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// lines is a layer, or what is to be seen, in the notation of archive_test.go.
type lines []string

// mergeTests are layers on top of each other, the lowest first, and what the
// image-spec (layer.md) says a container sees.
var mergeTests = map[string]struct {
	layers []lines
	want   lines
}{
	"a whiteout deletes a file": {
		[]lines{{"a=1", "b=1"}, {".wh.a"}},
		lines{"b=1"},
	},
	"a whiteout deletes a directory": {
		[]lines{{"d/", "d/a=1"}, {".wh.d"}},
		lines{},
	},
	"a whiteout deletes a symbolic link, not what it leads to": {
		[]lines{{"a=1", "l -> a"}, {".wh.l"}},
		lines{"a=1"},
	},
	"a deleted file can come back": {
		[]lines{{"a=1"}, {".wh.a"}, {"a=3"}},
		lines{"a=3"},
	},
	"a whiteout hits lower layers only: file": {
		[]lines{{"a=1"}, {"a=2", ".wh.a"}},
		lines{"a=2"},
	},
	"a whiteout hits lower layers only: file after it": {
		[]lines{{"a=1"}, {".wh.a", "a=2"}},
		lines{"a=2"},
	},
	"a whiteout hits lower layers only: directory": {
		[]lines{{"d/", "d/a=1"}, {"d/", "d/b=2", ".wh.d"}},
		lines{"d/", "d/b=2"},
	},
	"a whiteout hits lower layers only: directory after it": {
		[]lines{{"d/", "d/a=1"}, {".wh.d", "d/", "d/b=2"}},
		lines{"d/", "d/b=2"},
	},
	"a whiteout hits lower layers only: directory without an entry": {
		[]lines{{"d/", "d/a=1"}, {".wh.d", "d/b=2"}},
		lines{"d/", "d/b=2"},
	},
	"a deleted directory does not come back with its symbolic links": {
		[]lines{{"d/", "bin -> d"}, {".wh.bin", "bin/x=2"}},
		lines{"bin/", "bin/x=2", "d/"},
	},
	"a whiteout of nothing leaves nothing": {
		[]lines{{"d/", "d/a=1"}, {"d/", "d/.wh.b", "e/.wh.f", ".wh.c", "d/a/.wh.x"}},
		lines{"d/", "d/a=1"},
	},
	"a whiteout in the first layer leaves nothing": {
		[]lines{{"d/", "d/.wh.a", "d/.wh..wh..opq", ".wh.x"}},
		lines{"d/"},
	},
	"an opaque directory hides": {
		[]lines{{"d/", "d/a=1", "d/s/", "d/s/a=1"}, {"d/", "d/.wh..wh..opq", "d/b=2"}},
		lines{"d/", "d/b=2"},
	},
	"opaque applies first wherever it stands": {
		[]lines{{"d/", "d/a=1", "d/c=1"}, {"d/", "d/b=2", "d/c=2", "d/.wh..wh..opq", "d/e=2"}},
		lines{"d/", "d/b=2", "d/c=2", "d/e=2"},
	},
	"opaque without an entry for the directory": {
		[]lines{{"d/", "d/a=1"}, {"d/.wh..wh..opq"}},
		lines{"d/"},
	},
	"whiteouts in an opaque directory leave nothing": {
		[]lines{{"d/", "d/a=1", "d/s/", "d/s/b=1"}, {"d/.wh.a", "d/s/.wh.b", "d/s/c=2", "d/.wh..wh..opq"}},
		lines{"d/", "d/s/", "d/s/c=2"},
	},
	"an opaque root hides everything": {
		[]lines{{"a=1", "d/", "d/a=1", "e/", "e/a=1"}, {"b=1"}, {"d/", "d/b=3", ".wh..wh..opq", ".wh.a"}},
		lines{"d/", "d/b=3"},
	},
	"an opaque root hides symbolic links too": {
		[]lines{{"usr/", "bin -> usr"}, {".wh..wh..opq", "bin/x=2"}},
		lines{"bin/", "bin/x=2"},
	},
	"opaque in the middle": {
		[]lines{{"d/", "d/a=1"}, {"d/", "d/.wh..wh..opq", "d/b=2"}, {"d/c=3"}},
		lines{"d/", "d/b=2", "d/c=3"},
	},
	"a file replaces a directory": {
		[]lines{{"d/", "d/a=1"}, {"d=2"}},
		lines{"d=2"},
	},
	"a directory replaces a file": {
		[]lines{{"d=1"}, {"d/", "d/a=2"}},
		lines{"d/", "d/a=2"},
	},
	"a directory replaces a symbolic link": {
		[]lines{{"usr/", "usr/a=1", "d -> usr"}, {"d/", "d/b=2"}},
		lines{"d/", "d/b=2", "usr/", "usr/a=1"},
	},
	"a symbolic link replaces a directory": {
		[]lines{{"usr/", "d/", "d/a=1"}, {"d -> usr", "d/b=2"}},
		lines{"d -> usr", "usr/", "usr/b=2"},
	},
	"the same name twice: the last one counts": {
		[]lines{{"d/", "d/a=1"}, {"d/", "d/b=2", "d=2", "d/", "d/c=2", "e -> d", "e=2"}},
		lines{"d/", "d/c=2", "e=2"},
	},
	"a parent is a symbolic link in a lower layer": {
		[]lines{{"usr/", "usr/bin/", "usr/bin/sh=1", "bin -> usr/bin"}, {"bin/x=2"}},
		lines{"bin -> usr/bin", "usr/", "usr/bin/", "usr/bin/sh=1", "usr/bin/x=2"},
	},
	"a whiteout behind a symbolic link in a lower layer": {
		[]lines{{"usr/", "usr/bin/", "usr/bin/sh=1", "bin -> /usr/bin"}, {"bin/.wh.sh"}},
		lines{"bin -> /usr/bin", "usr/", "usr/bin/"},
	},
	"symbolic links over several layers, absolute, with ..": {
		[]lines{{"c/", "c/d/"}, {"b -> /../c/d/.."}, {"a -> b"}, {"a/d/x=4", "a/y=4"}},
		lines{"a -> b", "b -> /../c/d/..", "c/", "c/d/", "c/d/x=4", "c/y=4"},
	},
	"a deleted symbolic link is no way": {
		[]lines{{"c/", "a -> c"}, {".wh.a"}, {"a/x=3"}},
		lines{"a/", "a/x=3", "c/"},
	},
	"a symbolic link to nowhere leads to a new directory": {
		[]lines{{"a -> /c/d"}, {"a/x=2"}},
		lines{"a -> /c/d", "c/", "c/d/", "c/d/x=2"},
	},
	"a hard link to a lower layer": {
		[]lines{{"usr/", "usr/a=1"}, {"b == usr/a", "c == b"}},
		lines{"b=1", "c=1", "usr/", "usr/a=1"},
	},
	"a hard link through symbolic links": {
		[]lines{{"usr/", "usr/a=1", "l -> /usr"}, {"l/b == /l/a"}},
		lines{"l -> /usr", "usr/", "usr/a=1", "usr/b=1"},
	},
	"a hard link to a symbolic link": {
		[]lines{{"a=1", "l -> a"}, {"m == l"}},
		lines{"a=1", "l -> a", "m -> a"},
	},
	"a hard link to itself": {
		[]lines{{"a=1", "a == a"}},
		lines{"a=1"},
	},
}

// Layers are unpacked into directories of their own, and the kernel merges
// them. What comes out must be what the image-spec says.
func TestLayersOnTopOfEachOther(t *testing.T) {
	testkit.HostUnchanged(t)
	for name, test := range mergeTests {
		t.Run(name, func(t *testing.T) {
			var archives [][]byte
			for _, lines := range test.layers {
				archives = append(archives, archive(t, lines...))
			}
			same(t, merged(t, stack(t, archives...)), test.want)
		})
	}
}

// Write is Apply backwards: a stack of layers that were packed again gives the
// same container.
func TestWrittenLayersOnTopOfEachOther(t *testing.T) {
	testkit.HostUnchanged(t)
	for name, test := range mergeTests {
		t.Run(name, func(t *testing.T) {
			var first, again []string
			for _, lines := range test.layers {
				dir := apply(t, archive(t, lines...), first...)
				first = append([]string{dir}, first...)
				again = append([]string{apply(t, pack(t, dir), again...)}, again...)
			}
			same(t, merged(t, again), test.want)
		})
	}
}
