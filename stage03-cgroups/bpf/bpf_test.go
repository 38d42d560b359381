package bpf_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/bpf"
)

func TestALoadedProgramIsFoundByItsName(t *testing.T) {
	testkit.HostUnchanged(t)
	p, err := bpf.LoadDeviceFilter("fifteen_letters", []bpf.Instruction{bpf.Set(bpf.R0, 1), bpf.Exit()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if name, err := p.Name(); err != nil || name != "fifteen_letters" {
		t.Errorf("name %q (%v)", name, err)
	}
	if _, err := bpf.LoadDeviceFilter("sixteen__letters", nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a longer name: %v", err)
	}
}

// The kernel says only EINVAL; its verifier says why.
func TestTheVerifiersWordsAreInTheError(t *testing.T) {
	testkit.HostUnchanged(t)
	for want, code := range map[string][]bpf.Instruction{
		"R0 !read_ok":         {bpf.Exit()},
		"unreachable insn":    {bpf.Set(bpf.R0, 1), bpf.Exit(), bpf.Exit()},
		"jump out of range":   {bpf.Jump(7)},
		"invalid bpf_context": {bpf.Load(bpf.R0, bpf.R1, 400), bpf.Exit()},
	} {
		_, err := bpf.LoadDeviceFilter("bad", code)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), `bpf: load "bad", `) {
			t.Errorf("want %q, error: %v", want, err)
		}
	}
}

func TestWhatIsNoGroup(t *testing.T) {
	testkit.HostUnchanged(t)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := bpf.DeviceFilters(int(dir.Fd())); !errors.Is(err, unix.EBADF) {
		t.Errorf("error %v, want %v", err, unix.EBADF)
	}
}
