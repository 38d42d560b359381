package oci_test

import (
	"bytes"
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
	Empty   specs.Hook        `json:"empty,omitempty"` // a structure is never omitted
}

var examples = []any{
	everything(),
	&kinds{},
	&kinds{
		State: specs.State{ID: "box", Pid: -7, Annotations: map[string]string{"b": "2", "<": "&", "a": "<&>\u2028\n\"é\\", "": ""}},
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
		`{"when":"yesterday"}`:          `line 1: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"`,
		`[1]`:                           `line 1: "" is a array, want oci_test.kinds`,
		strings.Repeat(`{"of":`, 1<<20): "line 1: invalid character '{' exceeded max depth",
	} {
		assert.Check(t, json.Unmarshal([]byte(text), &kinds{}) != nil, text)
		assert.ErrorContains(t, oci.Decode([]byte(text), &kinds{}), want)
	}
}

// What is for another platform is not read, and not refused.
func TestDecodeReadsWhatIsForLinux(t *testing.T) {
	var spec specs.Spec
	assert.NilError(t, oci.Decode([]byte(`{"windows":{"layerFolders":1},"process":{"commandLine":1,"cwd":"/"},"solaris":{}}`), &spec))
	assert.DeepEqual(t, spec, specs.Spec{Process: &specs.Process{Cwd: "/"}})
}

// FuzzDecode changes a configuration, and sees both read the same in it.
func FuzzDecode(f *testing.F) {
	addEdits(f, 200)
	f.Fuzz(func(t *testing.T, edits []byte, word string) {
		text := []byte(mutate(t, everything(), edits, word))
		for _, name := range elsewhere {
			if bytes.Contains(bytes.ToLower(text), []byte(name)) {
				t.Skip("it speaks of other platforms than Linux, which only package json reads")
			}
		}
		sameAsPackageJSON(t, text, &specs.Spec{}, &specs.Spec{})
	})
}

// elsewhere are the fields that other platforms than Linux have.
var elsewhere = []string{`"solaris"`, `"windows"`, `"vm"`, `"zos"`, `"freebsd"`, `"commandline"`, `"username"`}

// FuzzDecodeText decodes whatever comes.
func FuzzDecodeText(f *testing.F) {
	for _, example := range examples {
		text, err := oci.Encode(example)
		assert.NilError(f, err)
		f.Add(text)
	}
	for _, text := range []string{
		`{"of":null,"names":null,"numbers":null,"when":null,"\u0069d":"\u00e9\ud800\n","of":{"of":null}} `,
		`{"unknown":{"a":"}\"]"},"id":"b"}`, `{"ID":"b","Yes":true}`, "{\"id\":\"\x80\"}", `{"-":"x","id":"b"}`,
		`{"numbers":[4294967296]}`, `{"pid":9223372036854775808}`, `{"large":18446744073709551615}`, `{"small":-128}`,
		`{"names":{"a":"1"},"names":{"b":"2"}}`, `{"when":{}}`, `{"empty":{"path":"/x"}}`, `{"share":1e400}`, `{"yes":null}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sameAsPackageJSON(t, text, &kinds{}, &kinds{})
	})
}

// sameAsPackageJSON sees that both refuse a text, or read the same in it.
func sameAsPackageJSON(t *testing.T, text []byte, ours, theirs any) {
	t.Helper()
	err, want := oci.Decode(text, ours), json.Unmarshal(text, theirs)
	if (err == nil) != (want == nil) {
		t.Fatalf("%q: %v, and package json: %v", text, err, want)
	}
	if err == nil {
		assert.DeepEqual(t, ours, theirs)
	}
}
