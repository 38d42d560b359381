package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/container"
	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/pid1"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage04-overlay/overlay"
	"skiff.example/stage05-images/image"
	"skiff.example/stage06-network/network"
)

// Running an image: what has to be there before the container, and the network
// that it gets while it waits.

// Options say how to run an image. The zero value of each field leaves it to
// the image or to skiff.
type Options struct {
	Image string
	Args  []string // instead of the image's command
	// Entrypoint replaces the image's, with its command; nil does not.
	Entrypoint []string
	Name       string // the container's id
	Hostname   string
	Env        []string // NAME=value, beside the image's
	WorkDir    string
	User       string
	ReadOnly   bool // no writes to the root
	Terminal   bool
	Init       bool // a small process 1 that starts the program
	Volumes    []Volume

	Memory  int64   // bytes
	CPUs    float64 // how many processors' time
	Pids    int64   // processes and threads
	Network string  // "bridge" (the default), "none" or "host"
	Subnet  netip.Prefix

	Platform ocispec.Platform
	Explain  io.Writer // where the steps and their times go
}

// A Volume is a file or folder of the host that the container sees.
type Volume struct {
	Source, Destination string
	ReadOnly            bool
}

// Run runs an image and returns the exit status of its program, as a shell
// gives it. First it unmakes what a killed run has left, so that nobody need
// remember to.
func (e *Engine) Run(ctx context.Context, o Options) (status int, err error) {
	if err := e.Collect(); err != nil {
		return 0, err
	}
	if o.Name == "" {
		o.Name = newID()
	}
	store, err := e.Images()
	if err != nil {
		return 0, err
	}
	// A lease, until the container has a state that names the image: see Used.
	release, err := store.Hold(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	img, err := e.FindOrPull(ctx, store, o.Image, o.Platform)
	if err != nil {
		return 0, err
	}
	run, err := e.newRun(img, o)
	if err != nil {
		return 0, err
	}
	config := run.config()
	config.Observe = func(_ *plan.Plan, times []launch.Timing) {
		release()
		if o.Explain != nil {
			launch.Explain(o.Explain, times)
		}
	}
	return e.run(ctx, config)
}

// run runs a container. The program that this is hears of the signals for it, too: Ctrl-C
// may end more than what runs now, as in a build. One that came before this has ended the
// context, and no container would hear of it any more.
func (e *Engine) run(ctx context.Context, config container.Config) (status int, err error) {
	container.TolerateClosedPipe()
	if config.Signals, err = container.ShareSignals(); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, config.Signals.Close()) }()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return e.runtime().Run(config)
}

// newRun decides what the container is like.
func (e *Engine) newRun(img *image.Image, o Options) (*run, error) {
	spec, err := configure(img, o)
	if err != nil {
		return nil, err
	}
	return &run{engine: e, options: o, image: img, spec: spec}, nil
}

// config is what package container is told of it.
func (r *run) config() container.Config {
	return container.Config{
		ID: r.options.Name, Bundle: r.engine.Root, Spec: r.spec, Prepare: r.prepare, Connect: r.connect,
		Options: container.Options{Warn: r.engine.Out, Timed: r.options.Explain != nil},
	}
}

// newID makes up an id.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // crypto/rand: "Read … never returns an error"
	return hex.EncodeToString(b[:])
}

// A run is one container on its way.
type run struct {
	engine  *Engine
	options Options
	image   *image.Image
	spec    *specs.Spec
	folder  string // of the container, below Root
}

// prepare makes the container's writable layer and the files of its own that
// it finds in /etc.
func (r *run) prepare(j *journal.Journal) (layers func(*plan.Plan) error, err error) {
	above := filepath.Join(r.engine.Root, "containers")
	if err := os.MkdirAll(above, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for containers: %w", err)
	}
	above, err = filepath.EvalSymlinks(above) // undoing follows no links
	if err != nil {
		return nil, fmt.Errorf("find folder for containers: %w", err)
	}
	r.folder = filepath.Join(above, r.options.Name)
	if err := j.Record("remove-all", r.folder); err != nil {
		return nil, err
	}
	stack, err := overlay.Prepare(r.folder, r.image.Layers)
	if err != nil {
		return nil, err
	}
	r.spec.Root.Path = filepath.Join(r.folder, "merged")
	if err := os.Mkdir(r.spec.Root.Path, 0o755); err != nil {
		return nil, fmt.Errorf("make mount point of the root: %w", err)
	}
	layers = func(p *plan.Plan) error { return stack.Steps(p, r.spec.Root.Path) }
	return layers, errors.Join(r.writeEtc(), r.keepWritable(r.image.Layers))
}

// connect gives the container its network.
func (r *run) connect(j *journal.Journal, pid int) error {
	if r.options.Network == networkNone || r.options.Network == networkHost {
		return nil
	}
	n, err := network.Open(filepath.Join(r.engine.State, "network"), network.Config{Subnet: r.options.Subnet})
	if err != nil {
		return err
	}
	endpoint, err := n.Attach(j, r.options.Name, fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	return r.writeHosts(endpoint.Address.Addr())
}

// configure turns the image's configuration and the options into that of a
// container.
func configure(img *image.Image, o Options) (*specs.Spec, error) {
	spec := oci.Default()
	spec.Linux.MaskedPaths = append(spec.Linux.MaskedPaths, oci.Thermal("/sys")...)
	// None of the image's labels is among these (CVE-2026-53488, CVE-2023-6476).
	spec.Annotations = map[string]string{imageAnnotation: img.Digest.String()}
	if config := img.Config.Config; config.StopSignal != "" {
		if _, err := image.StopSignal(config); err != nil {
			return nil, fmt.Errorf("image %q: %w", o.Image, err)
		}
		spec.Annotations[stopSignalAnnotation] = config.StopSignal
	}
	spec.Root.Readonly = o.ReadOnly
	spec.Process.Terminal = o.Terminal
	spec.Process.NoNewPrivileges = false
	spec.Process.Rlimits = nil
	spec.Hostname = o.Hostname
	if o.Hostname == "" {
		spec.Hostname = o.Name
	}
	if err := setProcess(spec.Process, img, o); err != nil {
		return nil, fmt.Errorf("image %q: %w", o.Image, err)
	}
	if err := setNetwork(spec, o.Network); err != nil {
		return nil, err
	}
	for _, v := range o.Volumes {
		spec.Mounts = append(spec.Mounts, v.mount())
	}
	if o.Init {
		for _, v := range o.Volumes {
			if err := pid1.CheckMounts([]specs.Mount{v.mount()}); err != nil {
				return nil, err
			}
		}
		small, err := pid1.Mount()
		if err != nil {
			return nil, err
		}
		spec.Mounts = append(spec.Mounts, small)
		spec.Process.Args = append([]string{pid1.Path}, spec.Process.Args...)
	}
	return spec, setLimits(spec, o)
}

// mount is the volume as a mount of the container.
func (v Volume) mount() specs.Mount {
	options := []string{"rbind", "rprivate"}
	if v.ReadOnly {
		options = append(options, "rro")
	}
	return specs.Mount{Destination: v.Destination, Type: "bind", Source: v.Source, Options: options}
}
