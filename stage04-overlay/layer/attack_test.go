package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/layer"
)

// attacks are layers that try to reach what is outside of their directory, or
// to make something of overlayfs's. Beside that directory is a file "canary",
// and two layers up a directory "outside".
var attacks = map[string]struct {
	lower []string // a layer below, if there is one
	layer []string
	want  []string // what is in the layer's directory after all, or
	err   string   // the error
}{
	// Symbolic links are followed within the image. Absolute ones are ordinary
	// in images, so they cannot be forbidden (CVE-2021-32760, 2021-29136).
	"absolute link, then through it": {
		layer: []string{"a -> /", "a/canary=evil", "a/../../canary=evil"},
		want:  []string{"a -> /", "canary=evil"},
	},
	"link upwards, then through it": {
		layer: []string{"a -> ../../..", "a/canary=evil"},
		want:  []string{"a -> ../../..", "canary=evil"},
	},
	"link to a link upwards": {
		layer: []string{"d/", "d/a -> ../b", "b -> ..", "d/a/canary=evil"},
		want:  []string{"b -> ..", "canary=evil", "d/", "d/a -> ../b"},
	},
	"link through /proc": {
		layer: []string{"a -> /proc/self/cwd/../..", "a/canary=evil"},
		want:  []string{"a -> /proc/self/cwd/../..", "proc/", "proc/canary=evil"},
	},
	"link of a lower layer, then through it": {
		lower: []string{"a -> ../../outside"},
		layer: []string{"a/canary=evil"},
		want:  []string{"outside/", "outside/canary=evil"},
	},
	"directory becomes a link": {
		layer: []string{"d/", "d/e/", "d/e/a=1", "d -> ../..", "d/canary=evil", "d/e/b=evil"},
		want:  []string{"canary=evil", "d -> ../..", "e/", "e/b=evil"},
	},
	"directory above the last one becomes a link": {
		layer: []string{"d/", "d/e/", "d/e/a=1", "d -> /", "d/e/b=2"},
		want:  []string{"d -> /", "e/", "e/b=2"},
	},
	"file over a link": {
		layer: []string{"a -> ../canary", "a=evil"},
		want:  []string{"a=evil"},
	},
	"whiteout over a link": {
		lower: []string{"a -> ../.."},
		layer: []string{"a/.wh.canary", "a/.wh.outside"},
		want:  []string{},
	},

	// Names.
	"..":                         {layer: []string{"../canary=evil"}, want: []string{"canary=evil"}},
	".. in the middle":           {layer: []string{"d/", "d/../../../canary=evil"}, want: []string{"canary=evil", "d/"}},
	"absolute":                   {layer: []string{"/canary=evil"}, want: []string{"canary=evil"}},
	"slashes":                    {layer: []string{"//./d//./a=1"}, want: []string{"d/", "d/a=1"}},
	".. as a file":               {layer: []string{"d/..=evil"}, err: `unpack "d/..": the name ends in "..": invalid argument`},
	".. as a directory":          {layer: []string{"../"}, err: `unpack "../": the name ends in "..": invalid argument`},
	"the root as a link":         {layer: []string{"./ -> /etc"}, err: `unpack "./": the root of a layer is a directory, not a file: not a directory`},
	"the root as a hard link":    {layer: []string{". == etc"}, err: `unpack ".": the root of a layer is a directory, not a file: not a directory`},
	"a file as a directory":      {layer: []string{"a=1", "a/b=2"}, err: `unpack "a/b": "a": not a directory`},
	"a file below as one":        {lower: []string{"a=1"}, layer: []string{"a/b=2"}, err: `unpack "a/b": "a": not a directory`},
	"links in a circle":          {layer: []string{"a -> b", "b -> a", "a/x=1"}, err: `unpack "a/x": more than 40 symbolic links: too many levels of symbolic links`},
	"a long name":                {layer: []string{strings.Repeat("n", 256) + "=1"}, err: `unpack "` + strings.Repeat("n", 256) + `": create "` + strings.Repeat("n", 256) + `": file name too long`},
	"10,000 directories deep":    {layer: []string{strings.Repeat("d/", 10_000) + "a=1"}, err: `unpack "` + strings.Repeat("d/", 10_000) + `a": more than 1000 directories deep: file name too long`},
	"10,000 deep, through links": {layer: []string{"l -> " + strings.Repeat("d/", 2000), "l/l/l -> /l/l/l", "l/l/l/a=1"}, err: `unpack "l/l/l": more than 1000 directories deep: file name too long`},

	// Hard links: CVE-2025-47290 and many before.
	"hard link upwards":               {layer: []string{"a == ../canary"}, err: `unpack "a": hard link to "../canary": no such file or directory`},
	"hard link to an absolute name":   {layer: []string{"a == /etc/passwd"}, err: `unpack "a": hard link to "/etc/passwd": no such file or directory`},
	"hard link through a link":        {layer: []string{"d -> ../..", "a == d/canary"}, err: `unpack "a": hard link to "d/canary": no such file or directory`},
	"hard link to a link, then write": {layer: []string{"l -> ../canary", "a == l", "a=evil"}, want: []string{"a=evil", "l -> ../canary"}},
	"hard link to a directory":        {layer: []string{"d/", "a == d"}, err: `unpack "a": hard link to "d": is a directory`},
	"hard link to the root":           {layer: []string{"a == /"}, err: `unpack "a": hard link to "/": is a directory`},
	"hard link to a whiteout":         {lower: []string{"a=1"}, layer: []string{".wh.a", "b == a"}, err: `unpack "b": hard link to "a": no such file or directory`},

	// Whiteouts.
	"whiteout of nothing":         {layer: []string{".wh."}, err: `unpack ".wh.": whiteout of nothing: invalid argument`},
	"whiteout of .":               {layer: []string{"d/.wh.."}, err: `unpack "d/.wh..": whiteout of ".": invalid argument`},
	"whiteout of ..":              {layer: []string{"d/.wh..."}, err: `unpack "d/.wh...": whiteout of "..": invalid argument`},
	"file in a whiteout":          {layer: []string{".wh.d/a=1"}, err: `unpack ".wh.d/a": directory name ".wh.d" is reserved for whiteouts: invalid argument`},
	"whiteouts of AUFS's own":     {layer: []string{".wh..wh.aufs", ".wh..wh.orph/", "a=1"}, want: []string{"a=1"}},
	"whiteout of the parent":      {layer: []string{"../.wh.canary", "/../../.wh.outside"}, want: []string{}},
	"opaque whiteout of the root": {lower: []string{"a=1"}, layer: []string{"../../.wh..wh..opq"}, want: []string{"a is of mode 020000, device 0x0"}},
}

// Whatever a layer does, it does in its own directory.
func TestAttacksStayInside(t *testing.T) {
	testkit.HostUnchanged(t)
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			dir, lower := surround(t, outside)
			o := layer.Options{}
			if attack.lower != nil {
				o.Lower = []string{lower}
				if _, err := layer.Apply(lower, bytes.NewReader(archive(t, attack.lower...)), layer.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			before := attributes(t, lower)
			_, err := layer.Apply(dir, bytes.NewReader(archive(t, attack.layer...)), o)
			checkAttack(t, dir, err, attack.want, attack.err)
			same(t, attributes(t, lower), before)
			checkSurroundings(t, outside)

			// The same before the layer below is known.
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			_, err = applyLoose(t, dir, archive(t, attack.layer...), o)
			checkAttack(t, dir, err, attack.want, attack.err)
			checkSurroundings(t, outside)
		})
	}
}

// checkAttack compares what a layer came to.
func checkAttack(t *testing.T, dir string, err error, want []string, wantErr string) {
	t.Helper()
	switch {
	case wantErr == "" && err == nil:
		same(t, list(t, dir), want)
	case err == nil || err.Error() != wantErr:
		t.Errorf("got error\n\t%.300v\nwant\n\t%.300s", err, wantErr)
	}
}

// surround makes directories for a layer and one below it, with things around
// them that must not be touched.
func surround(t testing.TB, outside string) (dir, lower string) {
	t.Helper()
	dir, lower = outside+"/layers/2", outside+"/layers/1"
	err := errors.Join(
		os.MkdirAll(dir, 0o755), os.Mkdir(lower, 0o755), os.Mkdir(outside+"/outside", 0o755),
		os.WriteFile(outside+"/canary", []byte("sings"), 0o644),
		os.WriteFile(outside+"/layers/canary", []byte("sings"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir, lower
}

// checkSurroundings checks what surround made.
func checkSurroundings(t testing.TB, outside string) {
	t.Helper()
	var got []string
	for _, line := range list(t, outside) {
		if !strings.HasPrefix(line, "layers/1/") && !strings.HasPrefix(line, "layers/2/") || strings.HasSuffix(line, "layers/2/") {
			got = append(got, line)
		}
	}
	same(t, got, []string{"canary=sings", "layers/", "layers/2/", "layers/canary=sings", "outside/"})
}

// Numbers and types that a tar header can hold, and the kernel or the
// image-spec cannot.
func TestHeadersThatAreRefused(t *testing.T) {
	testkit.Root(t)
	tests := map[string]struct {
		header tar.Header
		err    string
	}{
		"the owner that chown ignores": {
			tar.Header{Typeflag: tar.TypeReg, Name: "a", Uid: 1<<32 - 1},
			`unpack "a": owner 4294967295:0: numerical result out of range`,
		},
		"an owner beyond 32 bits": {
			tar.Header{Typeflag: tar.TypeReg, Name: "a", Gid: 1 << 32},
			`unpack "a": owner 0:4294967296: numerical result out of range`,
		},
		"a negative owner": {
			tar.Header{Typeflag: tar.TypeReg, Name: "a", Uid: -1, Format: tar.FormatGNU},
			`unpack "a": owner -1:0: numerical result out of range`,
		},
		"overlayfs's whiteout": {
			tar.Header{Typeflag: tar.TypeChar, Name: "a"},
			`unpack "a": character device 0:0 is overlayfs's own sign for a deleted file: invalid argument`,
		},
		"a device that mknod would make a whiteout of": {
			tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 1 << 12},
			`unpack "a": device 4096:0: numerical result out of range`,
		},
		"a device of no kernel": {
			tar.Header{Typeflag: tar.TypeBlock, Name: "a", Devminor: 1 << 32, Format: tar.FormatGNU},
			`unpack "a": device 0:4294967296: numerical result out of range`,
		},
		"an unknown type": {
			tar.Header{Typeflag: 'Z', Name: "a"},
			`unpack "a": entry of unknown type 'Z'`,
		},
		"an attribute that a link cannot have": {
			tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "b", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "1"}},
			`unpack "a": setxattr "user.x": operation not permitted`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := layer.Apply(t.TempDir(), bytes.NewReader(archiveOf(t, test.header)), layer.Options{})
			if err == nil || err.Error() != test.err {
				t.Errorf("got\n\t%v\nwant\n\t%s", err, test.err)
			}
		})
	}
}

// A bomb is noticed before it fills the disk (CVE-2025-58183).
func TestBombs(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "tar")
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(dir+"/bomb", nil, 0o644), os.Truncate(dir+"/bomb", 1<<42)); err != nil {
		t.Fatal(err)
	}
	run(t, "tar", "-C", dir, "-S", "-cf", dir+"/bomb.tar", "bomb")
	sparse, err := os.ReadFile(dir + "/bomb.tar")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		archive []byte
		options layer.Options
		reason  error
		err     string
	}{
		"a hole of 4 TiB": {
			sparse,
			layer.Options{},
			unix.EFBIG,
			`unpack "bomb": 4398046511104 more bytes make the layer larger than 68719476736 bytes: file too large`,
		},
		"many bytes": {
			archive(t, "a=123456", "b=12345"),
			layer.Options{MaxBytes: 10},
			unix.EFBIG,
			`unpack "b": 5 more bytes make the layer larger than 10 bytes: file too large`,
		},
		"many files": {
			archive(t, "a=1", "b == a", "d/e/f=1"),
			layer.Options{MaxInodes: 3},
			unix.EDQUOT,
			`unpack "d/e/f": open directory "d/e": the layer has more than 3 files: disk quota exceeded`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := layer.Apply(t.TempDir(), bytes.NewReader(test.archive), test.options)
			if !errors.Is(err, test.reason) || err.Error() != test.err {
				t.Errorf("got\n\t%v\nwant\n\t%s", err, test.err)
			}
		})
	}
	if _, err := layer.Apply(t.TempDir(), bytes.NewReader(tests["many files"].archive), layer.Options{MaxBytes: -1, MaxInodes: -1}); err != nil {
		t.Errorf("without limits: %v", err)
	}
}

// What is kept in memory until the end of a layer is limited, too, and so is
// what a header may ask for.
func TestBombsInMemory(t *testing.T) {
	testkit.Root(t)
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("%sd%d/", strings.Repeat("d/", 900), i))
	}
	record := archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "record", Linkname: strings.Repeat("x", 2<<20), Format: tar.FormatUSTAR})
	record[156] = tar.TypeXHeader
	copy(record[148:], fmt.Sprintf("%06o", 'x'-'0'+octal(t, record[148:154]))) // the checksum
	sparse := archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", PAXRecords: map[string]string{
		"GNU.holes!.major": "1", "GNU.holes!.minor": "0", "GNU.holes!.name": "bomb", "GNU.holes!.realsize": "1",
	}, Linkname: "1000000\n" + strings.Repeat("0\n", 2_000_000)})
	sparse = bytes.ReplaceAll(sparse, []byte("GNU.holes!"), []byte("GNU.sparse")) // which archive/tar does not write

	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"names":        {archive(t, names...), "the names of directories and whiteouts take more than 1000000 bytes: cannot allocate memory"},
		"a PAX header": {record, "read the layer's tar file: archive/tar: header field too long"},
		"a sparse map": {sparse, "read the layer's tar file: archive/tar: sparse map too long"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := layer.Apply(t.TempDir(), bytes.NewReader(test.archive), layer.Options{MaxMemory: 1e6})
			if err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("got %.300v, want … %s", err, test.want)
			}
		})
	}
}

// octal reads a number of a tar header.
func octal(t *testing.T, field []byte) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(string(field), "%o", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A download may break off anywhere.
func TestBrokenArchives(t *testing.T) {
	testkit.Root(t)
	whole := archive(t, "a="+strings.Repeat("x", 2000), "b=1")
	for size, want := range map[int]error{0: nil, 100: io.ErrUnexpectedEOF, 512: io.ErrUnexpectedEOF, 1500: io.ErrUnexpectedEOF, len(whole) - 1024: nil} {
		_, err := layer.Apply(t.TempDir(), bytes.NewReader(whole[:size]), layer.Options{})
		if !errors.Is(err, want) {
			t.Errorf("the first %d bytes: error %v, want %v", size, err, want)
		}
	}
	garbage := append([]byte("this is no tar file"), make([]byte, 2000)...)
	if _, err := layer.Apply(t.TempDir(), bytes.NewReader(garbage), layer.Options{}); !errors.Is(err, tar.ErrHeader) {
		t.Errorf("garbage: error %v, want %v", err, tar.ErrHeader)
	}
}

// A digest that is computed on the way needs every byte, also those behind the
// end mark.
func TestTheArchiveIsReadToItsEnd(t *testing.T) {
	testkit.Root(t)
	r := bytes.NewReader(append(archive(t, "a=1"), make([]byte, 100_000)...))
	if _, err := layer.Apply(t.TempDir(), r, layer.Options{}); err != nil || r.Len() != 0 {
		t.Errorf("%d bytes are left, error %v", r.Len(), err)
	}
}
