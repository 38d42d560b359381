package image

// Platforms: an index lists the same image for several kinds of machines
// (image-spec image-index.md); we take the one that runs here.

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
)

// HostPlatform is what runs on this machine.
func HostPlatform() ocispec.Platform {
	return ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
}

// Choose returns the manifest for a platform. An entry without a platform is
// taken if it is the only one; its configuration then tells.
func Choose(index *ocispec.Index, want ocispec.Platform) (ocispec.Descriptor, error) {
	var there []ocispec.Platform
	for _, d := range index.Manifests {
		switch {
		case d.Platform == nil && len(index.Manifests) == 1:
			return d, nil
		case d.Platform == nil || d.Platform.OS == "unknown":
			continue // an attestation, a signature …
		case Matches(*d.Platform, want):
			return d, nil
		}
		there = append(there, *d.Platform)
	}
	return ocispec.Descriptor{}, WrongPlatform(want, there)
}

// Matches tells whether an image for have runs on want. Some tools leave the
// fields of a configuration empty; that is no contradiction.
func Matches(have, want ocispec.Platform) bool {
	same := func(have, want string) bool { return have == "" || have == want }
	return same(have.OS, want.OS) && same(have.Architecture, want.Architecture) && variant(have) == variant(want)
}

// variant leaves out the variant that every machine of an architecture is of:
// arm64/v8 is arm64, amd64/v1 is amd64.
func variant(p ocispec.Platform) string {
	switch p.Architecture + "/" + p.Variant {
	case "arm64/v8", "amd64/v1":
		return ""
	}
	return p.Variant
}

// WrongPlatform is the error when what is there does not run on want.
func WrongPlatform(want ocispec.Platform, there []ocispec.Platform) error {
	var names []string
	for _, p := range there {
		names = append(names, PlatformString(p))
	}
	if len(names) == 0 {
		return fmt.Errorf("no image for %s: the index names no platform", PlatformString(want))
	}
	return hint.Add(fmt.Errorf("no image for %s: there is %s", PlatformString(want), strings.Join(names, ", ")),
		"choose one of these platforms; running it here needs a machine or an emulator of that kind")
}

// ParsePlatform reads OS/ARCH[/VARIANT]; "" is the zero value, which stands for the
// host's.
func ParsePlatform(text string) (p ocispec.Platform, err error) {
	if text == "" {
		return p, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return p, fmt.Errorf("platform %q: want OS/ARCH[/VARIANT]", text)
	}
	p.OS, p.Architecture = parts[0], parts[1]
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// PlatformString writes linux/arm64/v8.
func PlatformString(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}
