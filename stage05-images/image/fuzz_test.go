package image_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage05-images/image"
)

// Whatever comes, the result is an error or something that keeps its promises. An
// ordinary test run tries what is in testdata/fuzz; to look for more,
//
//	go test -run=- -fuzz=FuzzArchive -fuzzminimizetime=1s ./image

func FuzzReference(f *testing.F) {
	for _, ref := range []string{"alpine", "a/b:1@" + someDigest, "[::1]:5000/demo", "localhost/x", someDigest, "A", "../a", "a:b@c", strings.Repeat("a/", 200)} {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		full, err := image.Normalize(ref)
		if err != nil {
			return
		}
		if again, err := image.Normalize(full); err != nil || again != full {
			t.Errorf("%q → %q → %q, %v", ref, full, again, err)
		}
		for _, short := range []string{image.Familiar(full), image.FamiliarTagged(full)} {
			if again, err := image.Normalize(short); err != nil || again != full {
				t.Errorf("%q → %q → %q → %q, %v", ref, full, short, again, err)
			}
		}
		if !strings.ContainsAny(full, ":@") || strings.ContainsAny(full, " \n\x00\\") || strings.Contains("/"+full+"/", "/../") {
			t.Errorf("%q → %q", ref, full)
		}
	})
}

func FuzzManifest(f *testing.F) {
	descriptor := `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + someDigest + `","size":2}`
	config := `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + someDigest + `","size":2}`
	for _, raw := range []string{
		`{"schemaVersion":2,"config":` + config + `,"layers":[` + descriptor + `]}`,
		`{"schemaVersion":2,"manifests":[` + strings.TrimSuffix(descriptor, "}") + `,"platform":{"os":"linux","architecture":"amd64"}}]}`,
		`{"schemaVersion":2,"manifests":null,"layers":[]}`, `[]`, `{"schemaVersion":2,"Layers":[],"layers":[{"digest":"sha256:../x"}]}`,
	} {
		f.Add([]byte(raw), ocispec.MediaTypeImageManifest)
		f.Add([]byte(raw), ocispec.MediaTypeImageIndex)
	}
	f.Fuzz(func(t *testing.T, raw []byte, served string) {
		_, isIndex, err := image.Kind(raw, served)
		if err != nil {
			return
		}
		var all []ocispec.Descriptor
		if isIndex {
			index, err := image.ParseIndex(raw)
			if err != nil {
				return
			}
			all = index.Manifests
			if d, err := image.Choose(index, ocispec.Platform{OS: "linux", Architecture: "amd64"}); err == nil {
				all = append(all, d)
			}
		} else {
			m, err := image.ParseManifest(raw)
			if err != nil {
				return
			}
			if len(m.Layers) == 0 {
				t.Error("no layers")
			}
			all = append(m.Layers, m.Config)
		}
		for _, d := range all {
			if d.Size < 0 || d.Digest.Validate() != nil || strings.ContainsAny(d.Digest.Encoded(), "/.") {
				t.Errorf("%s: %+v", raw, d)
			}
			_ = image.Short(d.Digest) // does not panic
		}
	})
}

func FuzzConfig(f *testing.F) {
	for _, config := range []string{
		`{"Entrypoint":["a"],"Cmd":["b"],"Env":["A=1","B"],"Volumes":{"/data":{},"x":{}},"StopSignal":"SIGRTMIN+3"}`,
		`{"Cmd":[],"Env":["*"],"Volumes":{"/..":{}},"StopSignal":"0x9","Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":1}}`, `null`, `[]`,
	} {
		f.Add([]byte(`{"rootfs":{"diff_ids":["`+someDigest+`"]},"config":`+config+`,"history":[{"empty_layer":true},{}]}`), "arg")
	}
	f.Fuzz(func(t *testing.T, raw []byte, arg string) {
		_, _ = image.ParseHealthcheck(raw)
		config, err := image.ParseConfig(raw, &ocispec.Manifest{Layers: make([]ocispec.Descriptor, 1)})
		if err != nil {
			return
		}
		if chains := image.ChainIDs(config); len(chains) != 1 || chains[0].Validate() != nil {
			t.Errorf("chains %q", chains)
		}
		if argv, err := image.Command(config.Config, nil, []string{arg}); err != nil || argv[len(argv)-1] != arg {
			t.Errorf("%q, %v", argv, err)
		}
		env, _ := image.Environment(config.Config.Env)
		for _, e := range env {
			if strings.Index(e, "=") < 1 {
				t.Errorf("environment %q", e)
			}
		}
		volumes, _ := image.Volumes(config.Config)
		for _, v := range volumes {
			if !filepath.IsAbs(v) || v == "/" || strings.Contains(v+"/", "/../") {
				t.Errorf("volume %q", v)
			}
		}
		if s, err := image.StopSignal(config.Config); err == nil && (s < 1 || s > 64) {
			t.Errorf("signal %d", s)
		}
	})
}

// FuzzArchive changes archives. Whatever is in one, nothing comes to lie beside the
// store; after an error nothing has a name; what was loaded is whole.
func FuzzArchive(f *testing.F) {
	for _, archive := range fuzzedArchives(f) {
		f.Add(archive)
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		dir := filepath.Join(t.TempDir(), "store")
		s, err := image.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		_, failed := s.Load(t.Context(), bytes.NewReader(archive), ocispec.Platform{OS: "linux", Architecture: "amd64"})
		entries, err := s.List()
		if err != nil || failed != nil && len(entries) > 0 {
			t.Errorf("%v, and yet there are %v, %v", failed, entries, err)
		}
		for _, pattern := range []string{dir + "/tmp/*", dir + "/../[^s]*"} {
			if found, _ := filepath.Glob(pattern); len(found) > 0 {
				t.Errorf("left: %q", found)
			}
		}
		if problems, err := s.Check(t.Context(), image.CheckOptions{}); err != nil && os.Getuid() == 0 || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	})
}

// fuzzedArchives are what the fuzzing begins with.
func fuzzedArchives(f *testing.F) [][]byte {
	p := newParts(f)
	layer, config := file("l", p.layer), file("c", p.config)
	return [][]byte{
		pack(f, file("index.json", p.index), blob(p.manifest), blob(p.config), blob(p.layer)),
		pack(f, layer, config, docker("c", `["demo:1"]`, "l")),
		pack(f, layer, link('2', "d/l", "../l"), config, docker("c", `null`, "d/l")),
		sparseArchive(f),
	}
}
