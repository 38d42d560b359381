package oci_test

import (
	"errors"
	"os"
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/oci"
)

func TestHome(t *testing.T) {
	root := t.TempDir()
	passwd := "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv/www:/bin/sh\nlost:x:50:50:no home::/bin/sh\n"
	if err := errors.Join(os.Mkdir(root+"/etc", 0o755), os.WriteFile(root+"/etc/passwd", []byte(passwd), 0o644)); err != nil {
		t.Fatal(err)
	}
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
