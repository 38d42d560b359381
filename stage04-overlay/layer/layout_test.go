package layer_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
)

// descriptor is how an OCI image speaks of a part of it (image-spec descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// layout makes an image of uncompressed layers, the lowest first, for programs
// of others to read: an OCI layout with the tag "latest" (image-layout.md).
func layout(t testing.TB, layers ...[]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.MkdirAll(dir+"/blobs/sha256", 0o755); err != nil {
		t.Fatal(err)
	}
	blob := func(mediaType string, content []byte) descriptor {
		digest := fmt.Sprintf("%x", sha256.Sum256(content))
		if err := os.WriteFile(dir+"/blobs/sha256/"+digest, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return descriptor{MediaType: mediaType, Digest: "sha256:" + digest, Size: len(content)}
	}
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	type object = map[string]any
	var blobs []descriptor
	var diffIDs []string
	for _, l := range layers {
		d := blob("application/vnd.oci.image.layer.v1.tar", l)
		blobs, diffIDs = append(blobs, d), append(diffIDs, d.Digest)
	}
	config := blob("application/vnd.oci.image.config.v1+json", text(object{
		"architecture": "amd64", "os": "linux", "config": object{}, "rootfs": object{"type": "layers", "diff_ids": diffIDs},
	}))
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest := blob(manifestType, text(object{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": blobs}))
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": "latest"}
	if err := errors.Join(
		os.WriteFile(dir+"/oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644),
		os.WriteFile(dir+"/index.json", text(object{"schemaVersion": 2, "manifests": []descriptor{manifest}}), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}
