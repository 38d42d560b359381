// Package engine joins images, containers and the network: it is what the
// doors for people call. It decides; the packages below it do.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/final/container"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
	"skiff.example/stage06-network/network"
)

// An Engine keeps images on disk and containers in a state folder.
type Engine struct {
	// Root holds images, layers and what containers write. It must be on a
	// file system that can be an overlay's upper directory: not on an overlay.
	Root string
	// State holds what is only true until the next boot: best a tmpfs.
	State string
	// Out is where progress and warnings go.
	Out io.Writer
}

// runtime is what runs the containers.
func (e *Engine) runtime() *container.Runtime {
	return &container.Runtime{
		Root:    filepath.Join(e.State, "containers"),
		Undoers: journal.Undoers{network.UndoKind: network.Undo},
	}
}

// Images opens the store of images.
func (e *Engine) Images() (*image.Store, error) { return image.Open(filepath.Join(e.Root, "images")) }

// Pull gets an image from its registry.
func (e *Engine) Pull(ctx context.Context, reference string, platform ocispec.Platform) (*image.Image, error) {
	store, err := e.Images()
	if err != nil {
		return nil, err
	}
	return registry.Pull(ctx, store, reference, registry.Options{Progress: e.Out, Platform: platform})
}

// FindOrPull returns an image that is in the store, or gets it.
func (e *Engine) FindOrPull(ctx context.Context, store *image.Store, word string, platform ocispec.Platform) (*image.Image, error) {
	img, err := store.Ready(ctx, word)
	if errors.Is(err, image.ErrNotFound) {
		return registry.Pull(ctx, store, word, registry.Options{Progress: e.Out, Platform: platform})
	}
	return img, err
}

// imageAnnotation is where a container's state has the digest of its image's
// manifest.
const imageAnnotation = "skiff.example/image"

// stopSignalAnnotation is where it has the signal that ends it well: image-spec
// conversion.md, "Annotation Fields".
const stopSignalAnnotation = "org.opencontainers.image.stopSignal"

// Used tells which containers run on which image: the digest of its manifest → ids.
func (e *Engine) Used() (map[digest.Digest][]string, error) {
	states, err := e.runtime().List()
	if err != nil {
		return nil, err
	}
	used := map[digest.Digest][]string{}
	for _, s := range states {
		if d, err := digest.Parse(s.Annotations[imageAnnotation]); err == nil {
			used[d] = append(used[d], s.ID)
		}
	}
	return used, nil
}

// Collect unmakes what killed commands have left, and says what.
func (e *Engine) Collect() error {
	ids, err := e.runtime().Collect()
	for _, id := range ids {
		fmt.Fprintf(e.Out, "container %s had been left behind; removed\n", id)
	}
	return err
}
