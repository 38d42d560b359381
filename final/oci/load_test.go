package oci_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
)

// bundle is a folder with this config.json.
func bundle(t *testing.T, config string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// refused fails the test unless err says all of this.
func refused(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got  %v\nwant … %s …", err, w)
		}
	}
}

func TestABundleIsLoaded(t *testing.T) {
	var text strings.Builder
	if err := oci.WriteSpec(&text, oci.Default()); err != nil {
		t.Fatal(err)
	}
	// The specification demands that unknown fields be ignored.
	dir := bundle(t, strings.Replace(text.String(), "{", `{ "org.example.more": {"a": 1},`, 1))
	spec, _, err := oci.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "rootfs"); spec.Root.Path != want {
		t.Errorf("root.path is %q, want %q", spec.Root.Path, want)
	}
	spec.Root.Path = "rootfs"
	var again strings.Builder
	if err := oci.WriteSpec(&again, spec); err != nil {
		t.Fatal(err)
	}
	if again.String() != text.String() {
		t.Errorf("what was read is not what was written:\n%s", again.String())
	}
}

func TestAnAbsoluteRootStaysAsItIs(t *testing.T) {
	spec, _, err := oci.Load(bundle(t, changed(t, func(s *specs.Spec) { s.Root.Path = "/srv/box" })))
	if err != nil {
		t.Fatal(err)
	}
	if spec.Root.Path != "/srv/box" {
		t.Errorf("root.path is %q", spec.Root.Path)
	}
}

func TestAConfigThatCannotBeReadSaysWhere(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"no comma", "{\n  \"ociVersion\": \"1.2.0\"\n  \"root\": {}\n}", "line 3: invalid character"},
		{"cut off", "{\n\"process\": {\n", "line 3: unexpected end of JSON input"},
		{"empty", "", "line 1: unexpected end of JSON input"},
		{"wrong type", "{\n\"process\": {\n\"args\": \"sh\"\n}}", `line 3: "process.args" is a string, want []string`},
		{"negative id", "{\"process\": {\"user\":\n{\"uid\": -1}}}", `line 2: "process.user.uid" is a number -1, want uint32`},
		{"too large", strings.Repeat(" ", 4<<20) + "{}", "larger than 4194304 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := oci.Load(bundle(t, c.config))
			refused(t, err, "load ", c.want)
		})
	}
}

func TestAFolderWithoutAConfigIsNoBundle(t *testing.T) {
	_, _, err := oci.Load(t.TempDir())
	refused(t, err, "no config.json")
	if !strings.Contains(hint.Of(err), "skiff-oci spec") {
		t.Errorf("the hint is %q", hint.Of(err))
	}
}

// changed is the default configuration with a change, as JSON.
func changed(t *testing.T, change func(*specs.Spec)) string {
	t.Helper()
	spec := oci.Default()
	change(spec)
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// GHSA-6fw5-f8r9-fgfm, CVE-2020-8694: how warm a processor is and what power it takes
// says what others compute on it.
func TestWhatTellsOfOthersWorkIsMasked(t *testing.T) {
	sys := t.TempDir()
	for _, name := range []string{"cpu0/thermal_throttle", "cpu11/thermal_throttle", "cpu1/cache", "cpufreq"} {
		if err := os.MkdirAll(filepath.Join(sys, "devices/system/cpu", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"/sys/devices/system/cpu/cpu0/thermal_throttle", "/sys/devices/system/cpu/cpu11/thermal_throttle"}
	if got := oci.Thermal(sys); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, path := range []string{"/sys/devices/virtual/powercap", "/proc/interrupts"} {
		if !slices.Contains(oci.Default().Linux.MaskedPaths, path) {
			t.Errorf("%s is not masked", path)
		}
	}
}
