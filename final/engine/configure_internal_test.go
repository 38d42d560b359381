package engine

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// refused fails the test unless err says want.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant … %s …", err, want)
	}
}

func TestLaterVariablesWin(t *testing.T) {
	for _, c := range []struct {
		name  string
		lists [][]string
		want  []string
	}{
		{"nothing", nil, nil},
		{"joined", [][]string{{"A=1"}, {"B=2"}}, []string{"A=1", "B=2"}},
		{"later wins", [][]string{{"A=1", "B=2"}, {"A=3"}}, []string{"B=2", "A=3"}},
		{"in one list too", [][]string{{"A=1", "A=2"}}, []string{"A=2"}},
		{"empty value", [][]string{{"A=1"}, {"A="}}, []string{"A="}},
		{"similar names", [][]string{{"AB=1"}, {"A=2"}}, []string{"AB=1", "A=2"}},
		{"value with =", [][]string{{"A=b=c"}}, []string{"A=b=c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := image.Environment(c.lists...)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// CVE-2026-57231: an image that names a variable without a value must not get
// the host's.
func TestAVariableWithoutAValueIsNotTakenFromTheHost(t *testing.T) {
	t.Setenv("SECRET", "of the host")
	for _, e := range []string{"SECRET", "", "=value"} {
		_, err := image.Environment([]string{"PATH=/bin"}, []string{e})
		refused(t, err, "want NAME=value")
	}
	img := &image.Image{Config: ocispec.Image{Config: ocispec.ImageConfig{Env: []string{"SECRET"}, Cmd: []string{"sh"}}}}
	_, err := configure(img, Options{Image: "box"})
	refused(t, err, `image "box": environment "SECRET": want NAME=value`)
}

// image-spec config.md: Entrypoint stays, Cmd is what the caller replaces.
func TestWhatRunsIsTheImagesOrTheCallers(t *testing.T) {
	config := ocispec.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"a"}, WorkingDir: "/srv", User: "33:44", Env: []string{"A=1"}}
	for _, c := range []struct {
		name   string
		config ocispec.ImageConfig
		o      Options
		args   []string
		cwd    string
		uid    uint32
	}{
		{"the image's", config, Options{}, []string{"/entry", "a"}, "/srv", 33},
		{"the caller's", config, Options{Args: []string{"b", "c"}, WorkDir: "/tmp", User: "7"}, []string{"/entry", "b", "c"}, "/tmp", 7},
		{"defaults", ocispec.ImageConfig{Cmd: []string{"sh"}}, Options{}, []string{"sh"}, "/", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := configure(&image.Image{Config: ocispec.Image{Config: c.config}}, c.o)
			if err != nil {
				t.Fatal(err)
			}
			p := spec.Process
			if !slices.Equal(p.Args, c.args) || p.Cwd != c.cwd || p.User.UID != c.uid {
				t.Errorf("got %q in %q as %d", p.Args, p.Cwd, p.User.UID)
			}
			// Only root has capabilities by default.
			if rights := len(p.Capabilities.Permitted) + len(p.Capabilities.Effective); (rights > 0) != (c.uid == 0) {
				t.Errorf("user %d has %d capabilities", c.uid, rights)
			}
			if len(p.Capabilities.Bounding) == 0 {
				t.Error("the bounding set is empty: a set-user-ID program could do nothing")
			}
			if !slices.Contains(p.Env, "HOME=/") {
				t.Errorf("no HOME in %q", p.Env)
			}
		})
	}
	_, err := configure(&image.Image{}, Options{Image: "empty"})
	refused(t, err, `image "empty": it names no command`)
}

func TestNetworks(t *testing.T) {
	for _, c := range []struct {
		name string
		own  bool
	}{{"", true}, {"bridge", true}, {"none", true}, {"host", false}} {
		spec := oci.Default()
		before := len(spec.Linux.Namespaces)
		if err := setNetwork(spec, c.name); err != nil {
			t.Fatal(err)
		}
		own := slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
		if own != c.own {
			t.Errorf("network %q: a namespace of its own: %t, want %t", c.name, own, c.own)
		}
		if !own && len(spec.Linux.Namespaces) != before-1 {
			t.Errorf("network %q: other namespaces went too: %v", c.name, spec.Linux.Namespaces)
		}
	}
	err := setNetwork(oci.Default(), "macvlan")
	refused(t, err, `unknown network "macvlan"`)
	if hint.Of(err) != "networks are bridge, none and host" {
		t.Errorf("the hint is %q", hint.Of(err))
	}
}

func TestLimits(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	period := uint64(100_000)
	for _, c := range []struct {
		name string
		o    Options
		want specs.LinuxResources
	}{
		{"none: still no fork bomb", Options{}, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: number(4096)}}},
		{"processes", Options{Pids: 20}, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: number(20)}}},
		// Swap is memory and swap together: as much as memory means no swap.
		{"memory", Options{Memory: 64 << 20}, specs.LinuxResources{
			Pids:   &specs.LinuxPids{Limit: number(4096)},
			Memory: &specs.LinuxMemory{Limit: number(64 << 20), Swap: number(64 << 20)},
		}},
		{"half a processor", Options{CPUs: 0.5}, specs.LinuxResources{
			Pids: &specs.LinuxPids{Limit: number(4096)}, CPU: &specs.LinuxCPU{Quota: number(50_000), Period: &period},
		}},
		{"the least", Options{CPUs: 0.01}, specs.LinuxResources{
			Pids: &specs.LinuxPids{Limit: number(4096)}, CPU: &specs.LinuxCPU{Quota: number(1000), Period: &period},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := oci.Default()
			c.want.Devices = spec.Linux.Resources.Devices
			if err := setLimits(spec, c.o); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*spec.Linux.Resources, c.want) {
				t.Errorf("got %+v, want %+v", *spec.Linux.Resources, c.want)
			}
		})
	}
	for _, cpus := range []float64{0.009, -1} {
		refused(t, setLimits(oci.Default(), Options{CPUs: cpus}), "the kernel gives no less than 0.01")
	}
}

func TestVolumes(t *testing.T) {
	img := &image.Image{Config: ocispec.Image{Config: ocispec.ImageConfig{Cmd: []string{"sh"}}}}
	spec, err := configure(img, Options{Volumes: []Volume{{Source: "/a", Destination: "/b"}, {Source: "/c", Destination: "/d", ReadOnly: true}}})
	if err != nil {
		t.Fatal(err)
	}
	// rprivate: what is mounted there later goes neither way. rro: read-only
	// with all that is mounted below, which "ro" is not.
	want := []specs.Mount{
		{Destination: "/b", Type: "bind", Source: "/a", Options: []string{"rbind", "rprivate"}},
		{Destination: "/d", Type: "bind", Source: "/c", Options: []string{"rbind", "rprivate", "rro"}},
	}
	if got := spec.Mounts[len(spec.Mounts)-2:]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
