package testkit_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

func TestNormalizeReplacesWhatVaries(t *testing.T) {
	for given, want := range map[string]string{
		"process 4711 started, ppid: 4700, pid=12, {\"pid\": 99}": `process PID started, ppid: PID, pid=PID, {"pid": PID}`,
		"open /proc/4711/ns/mnt":                                  "open /proc/PID/ns/mnt",
		"mnt:[4026531832] pid:[4026531836]":                       "mnt:[INODE] pid:[INODE]",
		"descriptor 3 pipe:[28738]":                               "descriptor 3 pipe:[INODE]",
		"at 2026-11-23T20:17:00.5Z":                               "at TIME",
		"2026-11-23 20:17:00 +0100 and more":                      "TIME and more",
		"took 340µs, then 1m2.5s, then 8.1 ms":                    "took DURATION, then DURATION, then DURATION",
		"GET http://127.0.0.1:41234/v2/":                          "GET http://127.0.0.1:PORT/v2/",
		"[::1]:80 or localhost:8080":                              "[::1]:PORT or localhost:PORT",
	} {
		if got := testkit.Normalize(given); got != want {
			t.Errorf("Normalize(%q)\n got %q\nwant %q", given, got, want)
		}
	}
}

func TestNormalizeKeepsWhatMustNotVary(t *testing.T) {
	for _, given := range []string{
		"pid 1", "ppid 0", "NSpid:\t1", "/proc/1/root", "/proc/self/fd/3",
		"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"memory.max 67108864", "cpu.max 50000 100000", "127.0.0.1/8", "10.0.0.1:80",
		"mount /tmp tmpfs rw,nosuid", "1024 bytes", "64M", "Chapter 2 starts",
	} {
		if got := testkit.Normalize(given); got != given {
			t.Errorf("Normalize(%q) = %q", given, got)
		}
	}
}

func TestNormalizeReplacesTheKernelsVersion(t *testing.T) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	if got := testkit.Normalize("Linux " + release + " x"); got != "Linux KERNEL x" {
		t.Errorf("got %q", got)
	}
}

func TestNormalizeReplacesTemporaryFolders(t *testing.T) {
	made, err := os.MkdirTemp("", "skiff-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(made)
	t.Run("of a test with/a name", func(t *testing.T) {
		for given, want := range map[string]string{
			filepath.Join(t.TempDir(), "rootfs/bin"):    "TEMP/rootfs/bin",
			`mount "proc" on "` + t.TempDir() + `": no`: `mount "proc" on "TEMP": no`,
			made + "/x":                        "TEMP/x",
			testkit.Probe(t):                   "TEMP/probe",
			os.TempDir() + "/tmp.fnhrn7KpQO/y": "TEMP/y",
			made + "/stage02-4284662016/root":  "TEMP/root",
			made + "/tmp.fnhrn7KpQO/1234567/z": "TEMP/z",
			made + "/stays/1234567":            "TEMP/stays/1234567",
			os.TempDir() + "/stays":            os.TempDir() + "/stays",
		} {
			if got := testkit.Normalize(given); got != want {
				t.Errorf("Normalize(%q) = %q, want %q", given, got, want)
			}
		}
	})
}
