package oci_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gotest.tools/v3/assert"

	"skiff.example/final/oci"
)

// Package json is what Decode and Encode are compared with.

// kinds has all that a state has and a configuration has not.
type kinds struct {
	specs.State
	When    time.Time         `json:"when"`
	Never   string            `json:"-"`
	Yes     bool              `json:"yes"`
	No      bool              `json:"no,omitempty"`
	Large   uint64            `json:"large"`
	Small   int8              `json:"small"`
	Share   float64           `json:"share"`
	Of      *kinds            `json:"of,omitempty"`
	Names   map[string]string `json:"names"`
	Numbers []uint32          `json:"numbers"`
	Bytes   []byte            `json:"bytes"`
	Any     any               `json:"any,omitempty"`
}

var examples = []any{
	everything(),
	&kinds{},
	&kinds{
		State: specs.State{ID: "box", Pid: -7, Annotations: map[string]string{"b": "2", "a": "<&>\u2028\n\"é\\", "": ""}},
		When:  time.Date(2026, 11, 29, 12, 0, 0, 5, time.UTC), Yes: true, Large: 1<<64 - 1, Small: -128, Share: 1e21,
		Of: &kinds{Names: map[string]string{}, Numbers: []uint32{}, Bytes: []byte("bytes")}, Numbers: []uint32{0, 1<<32 - 1}, Any: "any",
	},
}

func TestEncodeWritesWhatPackageJSONWrites(t *testing.T) {
	for _, example := range examples {
		text, err := oci.Encode(example)
		assert.NilError(t, err)
		want, err := json.MarshalIndent(example, "", "  ")
		assert.NilError(t, err)
		assert.Equal(t, string(text), string(want)+"\n")
		again := reflect.New(reflect.TypeOf(example).Elem()).Interface()
		assert.NilError(t, oci.Decode(text, again))
		rewritten, err := json.MarshalIndent(again, "", "  ")
		assert.NilError(t, err)
		assert.Equal(t, string(rewritten), string(want))
	}
}

// Whatever package json refuses is refused.
func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "line 1: unexpected end of JSON input",
		"{\"yes\":true}\n\n{}":          "line 3: there is more behind the end",
		"{\n\"yes\":tru}":               "line 2: invalid character '}' in literal true (expecting 'e')",
		"{\n\"yes\":1\n}":               `line 2: "yes" is a number, want bool`,
		`{"small":128}`:                 `line 1: "small" is a number 128, want int8`,
		`{"large":-1}`:                  `line 1: "large" is a number -1, want uint64`,
		`{"names":{"a":1}}`:             `line 1: "names.a" is a number, want string`,
		`{"names":[]}`:                  `line 1: "names" is a array, want map[string]string`,
		`{"of":{"of":{"id":{}}}}`:       `line 1: "of.of.id" is a object, want string`,
		`{"numbers":[1,"2"]}`:           `line 1: "numbers" is a string, want uint32`,
		`{"when":"yesterday"}`:          `parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"`,
		`[1]`:                           `line 1: "" is a array, want oci_test.kinds`,
		strings.Repeat(`{"of":`, 1<<20): "line 1: invalid character '{' exceeded max depth",
	} {
		assert.Check(t, json.Unmarshal([]byte(text), &kinds{}) != nil, text)
		assert.ErrorContains(t, oci.Decode([]byte(text), &kinds{}), want)
	}
}

// FuzzDecode changes a configuration, and sees both read the same in it.
func FuzzDecode(f *testing.F) {
	addEdits(f, 200)
	f.Fuzz(func(t *testing.T, edits []byte, word string) {
		text := []byte(mutate(t, everything(), edits, word))
		var ours, theirs specs.Spec
		err, want := oci.Decode(text, &ours), json.Unmarshal(text, &theirs)
		if want == nil && err != nil || want != nil && err == nil && !strings.Contains(want.Error(), "Spec.") {
			t.Fatalf("%s\n%v, and package json: %v", text, err, want)
		}
		if want != nil {
			return
		}
		for _, platform := range []any{&theirs.Solaris, &theirs.Windows, &theirs.VM, &theirs.ZOS, &theirs.FreeBSD} { // read as none
			reflect.ValueOf(platform).Elem().SetZero()
		}
		assert.DeepEqual(t, ours, theirs)
	})
}

// FuzzDecodeText decodes whatever comes, as package json does or not at all.
func FuzzDecodeText(f *testing.F) {
	for _, example := range examples {
		text, err := oci.Encode(example)
		assert.NilError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"of":null,"names":null,"numbers":null,"when":null,"ID":"\u00e9\ud800","of":{"of":null}} `))
	f.Fuzz(func(t *testing.T, text []byte) {
		err, want := oci.Decode(text, &kinds{}), json.Unmarshal(text, &kinds{})
		if (err == nil) != (want == nil) {
			t.Fatalf("%q: %v, and package json: %v", text, err, want)
		}
	})
}
