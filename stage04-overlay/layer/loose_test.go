package layer_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/layer"
)

// applyLoose unpacks a layer before those below it are known. It says whether
// that went well: else the layer was unpacked again, in order.
func applyLoose(t testing.TB, dir string, archive []byte, o layer.Options) (loose bool, err error) {
	t.Helper()
	l, err := layer.ApplyLoose(dir, bytes.NewReader(archive), o)
	if err == nil {
		_, err = l.Settle(o.Lower)
	}
	if !errors.Is(err, layer.ErrInOrder) {
		return true, err
	}
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err = layer.Apply(dir, bytes.NewReader(archive), o)
	return false, err
}

// Which layers of mergeTests, and which others, can only be unpacked in order.
var inOrder = map[string]struct {
	layers []lines
	loose  bool
}{
	"a parent is a symbolic link below":                {[]lines{{"usr/", "bin -> usr"}, {"bin/x=2"}}, false},
	"a parent is a directory below":                    {[]lines{{"usr/", "bin/"}, {"bin/x=2"}}, true},
	"a parent is nothing below":                        {[]lines{{"usr/"}, {"bin/x=2"}}, true},
	"a parent is a link, and replaced":                 {[]lines{{"usr/", "bin -> usr"}, {"bin/", "bin/x=2"}}, true},
	"a parent is a link, and late":                     {[]lines{{"usr/", "bin -> usr"}, {"bin/x=2", "bin/"}}, false},
	"a parent is a link, and opaque later":             {[]lines{{"d/", "usr/", "d/l -> ../usr"}, {"d/l/x=2", "d/.wh..wh..opq"}}, false},
	"a parent is a file below":                         {[]lines{{"a=1"}, {"a/.wh.x"}}, false},
	"a link leads to one below":                        {[]lines{{"c/", "b -> c"}, {"a -> b", "a/x=2"}}, false},
	"a link leads back over one below":                 {[]lines{{"c/", "c/d/", "b -> c/d"}, {"a -> b/..", "a/x=2"}}, false},
	"a whiteout behind a link below":                   {[]lines{{"usr/", "usr/sh=1", "bin -> usr"}, {"bin/.wh.sh"}}, false},
	"hard links to a file below":                       {[]lines{{"d/", "d/a=1"}, {"b == d/a", "c == b", "e/f == d/a"}}, true},
	"hard link to a link below":                        {[]lines{{"d -> a"}, {"b == d", "b/x=2"}}, false},
	"hard link to a link below, whiteout behind":       {[]lines{{"a/", "a/x=1", "d -> a"}, {"b == d", "b/.wh.x"}}, false},
	"hard link over a file":                            {[]lines{{"a=1"}, {"b=2", "b == a"}}, true},
	"hard link over a directory":                       {[]lines{{"a=1"}, {"b/", "b/c=2", "b == a"}}, true},
	"hard link, replaced":                              {[]lines{{"a=1"}, {"b == a", "b=2"}}, false},
	"hard link, its directory replaced":                {[]lines{{"a=1"}, {"d/b == a", "d=2"}}, false},
	"hard link, its target replaced":                   {[]lines{{"a=1"}, {"b == a", "a=2"}}, false},
	"hard link, its target deleted":                    {[]lines{{"a=1"}, {"b == a", ".wh.a"}}, false},
	"hard link, its target replaced by itself":         {[]lines{{"a=1"}, {"b == a", "a == b", ".wh.a"}}, false},
	"hard link, the directory of its target is gone":   {[]lines{{"d/", "d/a=1"}, {"b == d/a", ".wh.d"}}, false},
	"hard link, the directory of its target is opaque": {[]lines{{"d/", "d/a=1"}, {"b == d/a", "d/.wh..wh..opq"}}, false},
	"hard link to itself":                              {[]lines{{"a=1"}, {"a == a"}}, false},
	"hard link to a directory":                         {[]lines{{"d/", "d/a=1"}, {"a == d"}}, false},
	"hard link to nothing":                             {[]lines{{"d/"}, {"a == b"}}, false},
	"a file as a directory":                            {[]lines{{"d/"}, {"a=1", "a/b=2"}}, false},
	"whiteouts":                                        {[]lines{{"a=1", "d/", "d/a=1"}, {".wh.a", ".wh.b", "d/.wh.a", "d/.wh.b", "e/.wh.c"}}, true},
	"whiteouts and then their directory's":             {[]lines{{"d/", "d/a=1", "e/", "e/a=1"}, {"d/.wh.a", ".wh.d", "e/.wh.a", "e/.wh..wh..opq"}}, true},
	"opaque root":                                      {[]lines{{"a=1", "d/", "d/a=1"}, {".wh..wh..opq", "d/b=2", "a=2", ".wh.c"}}, true},
}

func TestLayersThatMustBeUnpackedInOrder(t *testing.T) {
	testkit.Root(t)
	for name, test := range inOrder {
		t.Run(name, func(t *testing.T) {
			if loose := sameLoose(t, test.layers...); loose != test.loose {
				t.Errorf("unpacked before those below: %v, want %v", loose, test.loose)
			}
		})
	}
	for name, test := range mergeTests {
		t.Run(name, func(t *testing.T) { sameLoose(t, test.layers...) })
	}
}

// sameLoose unpacks layers in both ways, compares them, and says whether the
// last one could be unpacked by itself.
func sameLoose(t testing.TB, layers ...lines) (loose bool) {
	t.Helper()
	var lower []string
	for _, lines := range layers {
		a := archive(t, lines...)
		dir := t.TempDir()
		_, err := layer.Apply(dir, bytes.NewReader(a), layer.Options{Lower: lower})
		again := t.TempDir()
		var errLoose error
		loose, errLoose = applyLoose(t, again, a, layer.Options{Lower: lower})
		if fmt.Sprint(err) != fmt.Sprint(errLoose) {
			t.Fatalf("in order: error %v, loose: error %v", err, errLoose)
		}
		if err != nil {
			return loose
		}
		same(t, attributes(t, again), attributes(t, dir))
		lower = append([]string{dir}, lower...)
	}
	return loose
}

// A layer that was unpacked by itself is the same as one that was unpacked
// above the others, for layers that nobody would think of.
func TestLooseLayersAreTheSame(t *testing.T) {
	testkit.HostUnchanged(t)
	const stacks = 200
	random := rand.New(rand.NewSource(4))
	byThemselves := 0
	for i := range stacks {
		layers := []lines{randomLines(random, false), randomLines(random, true), randomLines(random, true)}
		if sameLoose(t, layers...) {
			byThemselves++
		}
		if t.Failed() {
			t.Fatalf("stack %d: %q", i, layers)
		}
	}
	if byThemselves < stacks/4 {
		t.Errorf("only %d of %d could be unpacked before those below", byThemselves, stacks)
	}
}

// randomLines are a few random entries with names that often meet.
func randomLines(random *rand.Rand, above bool) (list lines) {
	name := func() string {
		parts := make([]string, 1+random.Intn(3))
		for i := range parts {
			parts[i] = string("abcd"[random.Intn(4)])
		}
		return strings.Join(parts, "/")
	}
	for range 1 + random.Intn(6) {
		n := name()
		switch kind := random.Intn(20); {
		case kind < 4:
			list = append(list, n+"/")
		case kind < 10:
			list = append(list, n+"/"+n[:1]+"="+fmt.Sprint(random.Intn(100)))
		case kind < 11:
			list = append(list, n+"="+fmt.Sprint(random.Intn(100)))
		case kind < 12:
			list = append(list, n+" -> "+[]string{"", "/", "../", "../../"}[random.Intn(4)]+name())
		case kind < 14 && above:
			list = append(list, n+" == "+name()+"/"+n[:1])
		case kind < 18 && above:
			dir, last := n[:len(n)-1], n[len(n)-1:]
			list = append(list, dir+".wh."+last)
		case kind < 20 && above:
			list = append(list, n+"/.wh..wh..opq")
		}
	}
	return list
}
