package image_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage05-images/image"
)

func TestEntrypointCommandAndArguments(t *testing.T) {
	both := ocispec.ImageConfig{Entrypoint: []string{"entry", "-x"}, Cmd: []string{"cmd", "arg"}}
	for _, c := range []struct {
		config           ocispec.ImageConfig
		entrypoint, args []string
		want             string
	}{
		{both, nil, nil, "entry -x cmd arg"},
		{both, nil, []string{"own"}, "entry -x own"},
		{both, []string{"other"}, nil, "other"},
		{both, []string{"other"}, []string{"own"}, "other own"},
		{both, []string{}, []string{"own"}, "own"},
		{both, []string{}, nil, ""},
		{ocispec.ImageConfig{Cmd: []string{"cmd"}}, nil, nil, "cmd"},
		{ocispec.ImageConfig{Cmd: []string{"cmd"}}, nil, []string{"own", "x"}, "own x"},
		{ocispec.ImageConfig{Entrypoint: []string{"entry"}}, nil, nil, "entry"},
		{ocispec.ImageConfig{}, nil, nil, ""},
	} {
		argv, err := image.Command(c.config, c.entrypoint, c.args)
		if got := strings.Join(argv, " "); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v, %q, %q: %q, %v; want %q", c.config, c.entrypoint, c.args, got, err, c.want)
		}
	}
	if both.Entrypoint = append(both.Entrypoint[:1:2], "z"); both.Cmd[0] != "cmd" {
		t.Error("the configuration was changed")
	}
}

// CVE-2026-57231: a name without a value would be filled in from the host.
func TestTheEnvironmentIsWhatIsWritten(t *testing.T) {
	t.Setenv("SECRET", "of the host")
	got, err := image.Environment([]string{"A=1", "B=2"}, []string{"A=3", "C=", "D=x=y"})
	if err != nil || !slices.Equal(got, []string{"B=2", "A=3", "C=", "D=x=y"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"SECRET", "*", "", "=x", "A=\x00B=1", "SEC*"} {
		if got, err := image.Environment([]string{bad}); err == nil || strings.Contains(strings.Join(got, ""), "of the host") {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

func TestVolumesAreAbsolute(t *testing.T) {
	set := func(paths ...string) ocispec.ImageConfig {
		c := ocispec.ImageConfig{Volumes: map[string]struct{}{}}
		for _, p := range paths {
			c.Volumes[p] = struct{}{}
		}
		return c
	}
	if got, err := image.Volumes(set("/b/", "/a", "/b", "/c/../../d")); err != nil || !slices.Equal(got, []string{"/a", "/b", "/d"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "/", "data", "../etc", "/..", "//"} { // CVE-2022-23648
		if got, err := image.Volumes(set(bad)); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestStopSignals(t *testing.T) {
	for text, want := range map[string]int{
		"": 15, "SIGTERM": 15, "TERM": 15, "sigquit": 3, "9": 9, "64": 64, "SIGRTMIN+3": 37, "RTMIN+0": 34,
		"0": 0, "65": 0, "-9": 0, "SIG": 0, "SIGNOTHING": 0, "15 ": 0, "RTMIN+31": 0, "RTMIN+-1": 0,
	} {
		got, err := image.StopSignal(ocispec.ImageConfig{StopSignal: text})
		if int(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", text, int(got), err, want)
		}
	}
}

func TestHealthchecks(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`:                            "<nil> <nil>",
		`{"config":{}}`:                 "<nil> <nil>",
		`{"config":{"Healthcheck":{}}}`: "<nil> <nil>",
		`{"config":{"Healthcheck":{"Test":["NONE"]}}}`:                                      "<nil> <nil>",
		`{"config":{"Healthcheck":{"Test":["CMD","/check","x"],"Interval":30000000000}}}`:   "&{[CMD /check x] 30s 0s 0s 0s 0} <nil>",
		`{"config":{"Healthcheck":{"Test":["CMD-SHELL","check"],"Retries":3,"Timeout":1}}}`: "&{[CMD-SHELL check] 0s 1ns 0s 0s 3} <nil>",
		`{"config":{"Healthcheck":{"Test":["CMD"]}}}`:                                       `<nil> healthcheck ["CMD"]: want NONE, CMD and a program, or CMD-SHELL and a line`,
		`{"config":{"Healthcheck":{"Test":["check"]}}}`:                                     `<nil> healthcheck ["check"]: want NONE, CMD and a program, or CMD-SHELL and a line`,
		`{"config":{"Healthcheck":{"Test":["CMD","x"],"Timeout":-1}}}`:                      "<nil> healthcheck: a time or number is negative",
		`{"config":{"Healthcheck":{"Test":"x"}}}`:                                           "<nil> parse configuration: json: cannot unmarshal string into Go struct field Healthcheck.Config.Healthcheck.Test of type []string",
	} {
		h, err := image.ParseHealthcheck([]byte(raw))
		if got := fmt.Sprint(h, err); got != want {
			t.Errorf("%s\n got %s\nwant %s", raw, got, want)
		}
	}
}
