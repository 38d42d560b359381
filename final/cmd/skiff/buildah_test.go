package main_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// The same recipe, built by buildah: what skiff makes of it is what others make.
func TestBuildahMakesTheSame(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "buildah")
	m := newMachine(t)
	busybox, err := exec.LookPath("busybox")
	m.must(err)
	named := map[string]string{"busybox": readFile(t, busybox), "tree/a": "a", "tree/sub/b": "b", "tree/sub/link@": "/bin/sh", "c.log": "c", ".dockerignore": "*.log\n", "Dockerfile": `FROM scratch AS one
COPY --chmod=755 busybox /bin/
COPY --chmod=755 busybox /bin/sh
ENV PATH=/bin GREETING="hello there"
RUN ["/bin/busybox", "mkdir", "/made"]
RUN echo "$GREETING" >/made/said && busybox chown 5:6 /made/said && busybox chmod 4711 /made/said
RUN busybox ln /made/said /made/again && busybox ln -s said /made/soft
FROM one
ARG WHO=me
WORKDIR /srv/deep
COPY --from=one --chown=7:8 /made /copied
COPY --from=one /made/said .
COPY tree /srv/tree/
COPY tree/* /flat/
COPY . /all
RUN busybox rm -r /made && echo $WHO >who
LABEL a=b
EXPOSE 80 53/udp
VOLUME /data
USER 5:6
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["true"]
`}
	m.built(named)
	dir := t.TempDir()
	buildah := func(args ...string) {
		t.Helper()
		all := append([]string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}, args...)
		testkit.Output(t, exec.Command("buildah", all...))
	}
	buildah("bud", "--isolation", "chroot", "--format", "docker", "--tag", "theirs", m.files(named))
	buildah("push", "theirs", "docker-archive:"+filepath.Join(dir, "theirs.tar")+":theirs:1")
	m.ok("load", "-i", filepath.Join(dir, "theirs.tar"))
	config := func(name string) map[string]any {
		var c map[string]any
		m.must(json.Unmarshal([]byte(m.ok("inspect", "--format", "{{json .Config}}", name)), &c))
		labels := c["Labels"].(map[string]any)
		delete(labels, "io.buildah.version")
		return c
	}
	if ours, theirs := config("out"), config("theirs:1"); !reflect.DeepEqual(ours, theirs) {
		t.Errorf("our configuration is\n%v\nbuildah's is\n%v", ours, theirs)
	}
	// Not what is mounted, nor what buildah leaves where something was.
	const list = `cd /; busybox find . -xdev ! -path './dev*' ! -path './proc*' ! -path './sys*' ! -path './etc*' ! -path './run*' |
while read f; do busybox stat -c '%N %A %u:%g %h %s' "$f"; done`
	tree := func(name string) []string {
		got := m.do("run", "--network", "none", "--user", "0", name, list)
		lines := strings.Split(withoutLinks(got.out), "\n")
		slices.Sort(lines)
		return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "'.'") || l == "" || strings.HasPrefix(l, ". ") })
	}
	ours, theirs := tree("out"), tree("theirs:1")
	if len(ours) < 20 {
		t.Errorf("there is only %q", ours)
	}
	for _, l := range ours {
		if !slices.Contains(theirs, l) {
			t.Errorf("only ours:   %s", l)
		}
	}
	for _, l := range theirs {
		if !slices.Contains(ours, l) {
			t.Errorf("only theirs: %s", l)
		}
	}
}
