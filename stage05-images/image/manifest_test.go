package image_test

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage05-images/image"
)

// CVE-2021-41190: one digest, two meanings.
func TestAManifestMeansOneThing(t *testing.T) {
	const (
		manifest = "application/vnd.oci.image.manifest.v1+json"
		index    = "application/vnd.oci.image.index.v1+json"
		docker   = "application/vnd.docker.distribution.manifest.v2+json"
	)
	for _, test := range []struct {
		raw, served string
		mediaType   string // "": an error
		isIndex     bool
	}{
		{`{"schemaVersion":2,"config":{},"layers":[]}`, manifest, manifest, false},
		{`{"schemaVersion":2,"config":{},"layers":[]}`, docker, docker, false},
		{`{"schemaVersion":2,"config":{},"layers":[]}`, "text/plain", manifest, false},
		{`{"schemaVersion":2,"manifests":[]}`, "", index, true},
		{`{"schemaVersion":2,"manifests":[],"mediaType":"` + index + `"}`, index, index, true},
		{`{"schemaVersion":2,"manifests":[],"layers":[]}`, "", "", false},
		{`{"schemaVersion":2,"Manifests":[],"layers":[]}`, "", "", false}, // encoding/json does not mind the case
		{`{"schemaVersion":2,"manifests":[],"config":{}}`, "", "", false},
		{`{"schemaVersion":2,"manifests":[]}`, manifest, "", false},
		{`{"schemaVersion":2,"layers":[],"mediaType":"` + index + `"}`, "", "", false},
		{`{"schemaVersion":2}`, "", "", false},
		{`{"schemaVersion":1,"layers":[]}`, "", "", false},
		{`[]`, "", "", false},
		{``, "", "", false},
	} {
		mediaType, isIndex, err := image.Kind([]byte(test.raw), test.served)
		if mediaType != test.mediaType || isIndex != test.isIndex || (err == nil) != (test.mediaType != "") {
			t.Errorf("%s served as %q: %q, %v, %v", test.raw, test.served, mediaType, isIndex, err)
		}
	}
}

func TestDescriptorsAreChecked(t *testing.T) {
	config := `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + someDigest + `","size":2}`
	layer := `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + someDigest + `","size":2}`
	for raw, want := range map[string]string{
		`{` + config + `,"layers":[` + layer + `]}`:                                                        "",
		`{` + strings.Replace(config, `"size":2`, `"size":4194305`, 1) + `,"layers":[` + layer + `]}`:      "configuration: sha256:e3b0c44298fc: size 4194305 is out of range",
		`{` + config + `,"layers":[` + strings.Replace(layer, `"size":2`, `"size":-2`, 1) + `]}`:           "layer 1: sha256:e3b0c44298fc: size -2 is out of range",
		`{` + config + `,"layers":[` + layer + strings.Repeat(`,`+layer, 500) + `]}`:                       "image has 501 layers; overlayfs stacks 1 to 500",
		`{` + config + `,"layers":[` + strings.Replace(layer, "sha256", "sha257", 1) + `]}`:                fmt.Sprintf("layer 1: digest %q: unsupported digest algorithm", strings.Replace(someDigest, "256", "257", 1)),
		`{` + strings.Replace(config, "oci.image.config", "wasm.config", 1) + `,"layers":[` + layer + `]}`: `no container image: its configuration is of type "application/vnd.wasm.config.v1+json"`,
	} {
		_, err := image.ParseManifest([]byte(raw))
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && got != want {
			t.Errorf("%.300s\n got %s\nwant %s", raw, got, want)
		}
	}
}

func TestEachLayerHasADiffID(t *testing.T) {
	m := &ocispec.Manifest{Layers: make([]ocispec.Descriptor, 2)}
	for raw, want := range map[string]string{
		`{"rootfs":{"diff_ids":["` + someDigest + `","` + someDigest + `"]}}`: "",
		`{"rootfs":{"diff_ids":["` + someDigest + `"]}}`:                      "configuration has 1 diff_ids for 2 layers",
		`{"rootfs":{"diff_ids":["` + someDigest + `","sha256:../.."]}}`:       `configuration: diff_id 2: "sha256:../..": invalid checksum digest length`,
	} {
		_, err := image.ParseConfig([]byte(raw), m)
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && got != want {
			t.Errorf("%s\n got %s\nwant %s", raw, got, want)
		}
	}
}

// image-spec config.md, "Layer ChainID", has the rule; the values were computed
// with sha256sum: printf '%s %s' ID1 ID2 | sha256sum.
func TestChainIDs(t *testing.T) {
	var config ocispec.Image
	config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, someDigest, someDigest)
	got := image.ChainIDs(&config)
	if got[0] != someDigest || got[1] != "sha256:de9d9016b852e46e9f3973e20d3a6d17e120f7144931d50cd6e2a8ad53e81960" {
		t.Errorf("%v", got)
	}
	if config.RootFS.DiffIDs[1] != someDigest {
		t.Error("the configuration was changed")
	}
}
