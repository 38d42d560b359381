package layer_test

import (
	"archive/tar"
	"os"
	"strings"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
)

// oddHeaders are layers whose entries are unusual, and fine.
var oddHeaders = map[string][]tar.Header{
	"huge ids": {
		{Typeflag: tar.TypeReg, Name: "pax", Uid: 1<<32 - 2, Gid: 1<<31 + 5, Mode: 0o644, Format: tar.FormatPAX},
		{Typeflag: tar.TypeReg, Name: "gnu", Uid: 1<<32 - 2, Gid: 1<<31 + 5, Mode: 0o644, Format: tar.FormatGNU},
	},
	"names of users that are somebody else here": {
		{Typeflag: tar.TypeReg, Name: "a", Uid: 12345, Gid: 54321, Uname: "root", Gname: "root", Mode: 0o600},
	},
	"times": {
		{Typeflag: tar.TypeReg, Name: "nanoseconds", ModTime: time.Unix(1_600_000_000, 123_456_789), Format: tar.FormatPAX},
		{Typeflag: tar.TypeReg, Name: "before 1970", ModTime: time.Unix(-1_000_000_000, 500_000_000), Format: tar.FormatPAX},
		{Typeflag: tar.TypeReg, Name: "before 1970, gnu", ModTime: time.Unix(-1_000_000_000, 0), Format: tar.FormatGNU},
		{Typeflag: tar.TypeReg, Name: "after 2038", ModTime: time.Unix(5_000_000_000, 1), Format: tar.FormatPAX},
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755, ModTime: time.Unix(1_600_000_000, 987_654_321), Format: tar.FormatPAX},
		{Typeflag: tar.TypeReg, Name: "d/late", ModTime: time.Unix(1_700_000_000, 0)},
		{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "x", ModTime: time.Unix(1_500_000_000, 1), Format: tar.FormatPAX},
	},
	"long names": {
		{Typeflag: tar.TypeReg, Name: strings.Repeat(strings.Repeat("p", 200)+"/", 4) + "pax", Mode: 0o644, Format: tar.FormatPAX, ModTime: time.Unix(1, 0)},
		{Typeflag: tar.TypeReg, Name: strings.Repeat(strings.Repeat("g", 200)+"/", 4) + "gnu", Mode: 0o644, Format: tar.FormatGNU, ModTime: time.Unix(1, 0)},
		{Typeflag: tar.TypeSymlink, Name: "l", Linkname: strings.Repeat("t/", 1500), Mode: 0o777, Format: tar.FormatGNU, ModTime: time.Unix(1, 0)},
	},
	"parents that come late": {
		{Typeflag: tar.TypeReg, Name: "d/e/f", Mode: 0o644, ModTime: time.Unix(5, 0)},
		{Typeflag: tar.TypeDir, Name: "d/e/", Mode: 0o2711, Uid: 5, Gid: 6, ModTime: time.Unix(6, 0)},
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o1777, ModTime: time.Unix(7, 0)},
	},
	"a directory twice": {
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o700, Uid: 1, ModTime: time.Unix(1, 0), PAXRecords: map[string]string{"SCHILY.xattr.user.old": "1"}},
		{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o644, ModTime: time.Unix(5, 0)},
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o711, Uid: 2, ModTime: time.Unix(2, 0), PAXRecords: map[string]string{"SCHILY.xattr.user.old": "2"}},
	},
	"set-group-ID directories and what is in them": {
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o2775, Gid: 50, ModTime: time.Unix(1, 0)},
		{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o644, ModTime: time.Unix(5, 0)},
		{Typeflag: tar.TypeDir, Name: "d/d/", Mode: 0o755, ModTime: time.Unix(1, 0)},
	},
	"a mode of too many bits": {{Typeflag: tar.TypeReg, Name: "a", Mode: 0o106755}},
	"a global header": {
		{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "0123"}},
		{Typeflag: tar.TypeReg, Name: "a", Mode: 0o644},
	},
	"a contiguous file": {{Typeflag: tar.TypeCont, Name: "a", Mode: 0o644}},
	"extended attributes": {
		{Typeflag: tar.TypeReg, Name: "ping", Mode: 0o755, Uid: 5, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capNetRaw}},
		{Typeflag: tar.TypeReg, Name: "a", Mode: 0o4755, Uid: 5, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "\x00\n="}},
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.trusted.d": "1"}},
		{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "a", PAXRecords: map[string]string{"SCHILY.xattr.trusted.l": "1"}},
	},
	"devices": {
		{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o660, Gid: 6, Devmajor: 4095, Devminor: 1<<20 - 1},
		{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o622},
	},
	"each type over each other": {
		{Typeflag: tar.TypeReg, Name: "a"},
		{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/etc"},
		{Typeflag: tar.TypeFifo, Name: "a"},
		{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "a/b"},
		{Typeflag: tar.TypeChar, Name: "a", Devmajor: 5},
		{Typeflag: tar.TypeBlock, Name: "a", Devmajor: 5},
		{Typeflag: tar.TypeReg, Name: "b", Mode: 0o600},
		{Typeflag: tar.TypeLink, Name: "a", Linkname: "b"},
	},
}

func TestOddHeadersAreUnpackedAsUmociDoes(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "umoci", "tar")
	for name, headers := range oddHeaders {
		t.Run(name, func(t *testing.T) { likeUmoci(t, [][]byte{archive(t, "d/"), archiveOf(t, headers...)}, nil) })
	}
	dir := sample(t)
	for _, format := range []string{"v7", "oldgnu", "gnu", "ustar", "posix"} {
		t.Run("tar --format="+format, func(t *testing.T) {
			file := t.TempDir() + "/layer.tar"
			args := []string{"-C", dir, "--format=" + format, "-cf", file}
			switch format {
			case "v7", "ustar": // without what is too large, or too long
				args = append(args, "--exclude=secret", "--exclude=longlink", "--exclude=n*")
			default:
				args = append(args, "--sparse")
			}
			if format == "v7" {
				args = append(args, "--exclude=null", "--exclude=disk", "--exclude=fifo")
			}
			run(t, "tar", append(args, ".")...)
			a, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			likeUmoci(t, [][]byte{a}, nil)
		})
	}
}
