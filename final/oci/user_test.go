package oci_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/oci"
)

const (
	passwd = "root:x:0:0:root:/root:/bin/sh\n" +
		"web:x:33:44:web:/srv/www:/bin/sh\n" +
		"lost:x:50:50:no home::/bin/sh\n" +
		"4294967296:x:0:0:CVE-2026-46680:/root:/bin/sh\n"
	group = "root:x:0:\nweb:x:44:\nlogs:x:60:web,root\nmail:x:61:web\n"
)

// layer is a folder with these files in it: a container's root, or one of
// the folders that it is stacked from.
func layer(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// accounts is a layer with the users and groups above.
func accounts(t *testing.T) (root string) {
	t.Helper()
	return layer(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
}

func TestHome(t *testing.T) {
	root := accounts(t)
	for _, c := range []struct {
		name string
		uid  uint32
		env  []string
		want []string
	}{
		{"from passwd", 33, []string{"A=1"}, []string{"A=1", "HOME=/srv/www"}},
		{"of root", 0, nil, []string{"HOME=/root"}},
		{"set already", 33, []string{"HOME=/here", "A=1"}, []string{"HOME=/here", "A=1"}},
		{"set to nothing", 33, []string{"HOME=", "A=1"}, []string{"A=1", "HOME=/srv/www"}},
		{"similar name", 33, []string{"HOMEPAGE=x"}, []string{"HOMEPAGE=x", "HOME=/srv/www"}},
		{"user without entry", 77, nil, []string{"HOME=/"}},
		{"entry without home", 50, nil, []string{"HOME=/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &specs.Process{User: specs.User{UID: c.uid}, Env: c.env}
			if err := oci.CompleteEnv(p, oci.Files(root)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(p.Env, c.want) {
				t.Errorf("got %q, want %q", p.Env, c.want)
			}
		})
	}
}
