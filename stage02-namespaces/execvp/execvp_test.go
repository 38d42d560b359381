package execvp_test

import (
	"strings"
	"testing"

	"skiff.example/stage02-namespaces/execvp"
)

func TestEachDirectoryOfPathIsTried(t *testing.T) {
	for name, c := range map[string]struct {
		args, env []string
		want      string
	}{
		"a name":          {[]string{"ls", "/"}, []string{"PATH=/a:relative::/b"}, `execve("/a/ls", ["ls", "/"], ["PATH=/a:relative::/b"])  /* ENOENT or ENOTDIR or EACCES is fine */` + "\n" + `execve("/b/ls", ["ls", "/"], ["PATH=/a:relative::/b"])`},
		"a path":          {[]string{"./ls"}, nil, `execve("./ls", ["./ls"], [])`},
		"the last counts": {[]string{"ls"}, []string{"PATH=/a", "PATH=/b"}, `execve("/b/ls", ["ls"], ["PATH=/a", "PATH=/b"])`},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range execvp.Steps(c.args, c.env) {
				got = append(got, s.String())
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}
