package main_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
)

// bench is a machine whose image is called box, so that a recipe can say: FROM box.
func bench(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t).pulled()
	m.ok("tag", m.image, "box")
	return m
}

// files makes a build context. Of a name that ends in "@" the text is where a link
// leads to.
func (m *machine) files(named map[string]string) (dir string) {
	m.Helper()
	dir = m.TempDir()
	for name, text := range named {
		path := filepath.Join(dir, strings.TrimSuffix(name, "@"))
		m.must(os.MkdirAll(filepath.Dir(path), 0o755))
		if strings.HasSuffix(name, "@") {
			m.must(os.Symlink(text, path))
		} else {
			m.must(os.WriteFile(path, []byte(text), 0o644))
		}
	}
	return dir
}

// build is `skiff build` without a network.
func (m *machine) build(dir string, flags ...string) result {
	m.Helper()
	return m.do(append(append([]string{"build", "--network", "none"}, flags...), dir)...)
}

// built is build of a recipe, which must succeed, as the image out.
func (m *machine) built(named map[string]string, flags ...string) result {
	m.Helper()
	got := m.build(m.files(named), append(flags, "--tag", "out")...)
	if got.status != 0 {
		m.Fatalf("status %d: %s", got.status, got.err)
	}
	return got
}

// in runs a command in the image out.
func (m *machine) in(script string) string {
	m.Helper()
	m.image = "out"
	return m.run([]string{"--network", "none", "--entrypoint", "/bin/sh"}, "-c", script)
}

func TestBuildMakesAnImage(t *testing.T) {
	testkit.HostUnchanged(t)
	m := bench(t)
	named := map[string]string{
		"Dockerfile": `FROM box AS tools
RUN mkdir /made && echo "by a container" >/made/file && rm /text
FROM box
COPY --from=tools /made /made
COPY words /words
RUN echo more >>/words; ls /text /nothing || echo "that fails, and this does not"
CMD ["cat", "/made/file", "/words"]
`,
		"words": "words\n",
	}
	first := m.built(named)
	second := m.built(named)
	testkit.Golden(t, "$ skiff build --tag out .\n"+first.err+"\n$ skiff build --tag out .\n"+second.err, "build.golden")
	if first.out != second.out || !regexp.MustCompile(`^sha256:[0-9a-f]{64}\n$`).MatchString(first.out) {
		t.Errorf("the digests are %q and %q", first.out, second.out)
	}
	m.image = "out"
	if out := m.run([]string{"--network", "none"}); out != "by a container\nwords\nmore\n" {
		t.Errorf("it prints %q", out)
	}
	if list := m.ok("images"); strings.Contains(list, "build-cache") || !strings.Contains(m.ok("images", "--all"), "build-cache") {
		t.Errorf("images: %s", list)
	}
	if told := m.ok("inspect", "out"); strings.Contains(told, "build-cache") {
		t.Errorf("inspect: %s", told)
	}
	m.ok("rmi", "box", "out")
	m.ok("gc", "--build-cache")
	m.ok("fsck")
	if list := m.ok("images", "--all", "--quiet"); strings.Count(list, "\n") != 1 {
		t.Errorf("besides the image that was pulled there are %s", list)
	}
	m.wantNothing()
}

// What was written only to mount something on it is no change.
func TestALayerHoldsWhatTheCommandWrote(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	busybox, err := exec.LookPath("busybox")
	m.must(err)
	m.built(map[string]string{
		"Dockerfile": "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\nRUN : >/new\n", "busybox": readFile(t, busybox),
	})
	dir := t.TempDir()
	m.ok("save", "-o", filepath.Join(dir, "out.tar"), "out")
	testkit.Output(t, exec.Command("umoci", "--version"))
	testkit.Output(t, exec.Command("skopeo", "copy", "docker-archive:"+filepath.Join(dir, "out.tar"), "oci:"+dir+"/oci:out"))
	testkit.Output(t, exec.Command("umoci", "unpack", "--image", dir+"/oci:out", dir+"/bundle"))
	found := testkit.Output(t, exec.Command("find", dir+"/bundle/rootfs", "-mindepth", "1", "-printf", "%P %M %U:%G\n"))
	if lines := strings.Split(strings.TrimSpace(found), "\n"); len(lines) != 3 || !strings.Contains(found, "bin/sh -rwxr-xr-x 0:0") || !strings.Contains(found, "new -rw-r--r-- 0:0") {
		t.Errorf("umoci finds\n%s", found)
	}
}

func TestTheConfigurationThatARecipeMakes(t *testing.T) {
	testkit.HostUnchanged(t)
	m := bench(t)
	m.built(map[string]string{"Dockerfile": `ARG BASE=nothing
ARG SIZE=small
FROM ${BASE}
ARG SIZE
ARG WHO=nobody KEPT=no
ENV A="a $WHO" B=$A$SIZE
ENV C=${A:-x}-${UNSET:-default} WHO=env
LABEL size=$SIZE two="2 words"
SHELL ["/bin/sh", "-e", "-c"]
WORKDIR /srv
WORKDIR deep
RUN echo "$WHO $KEPT $A $SIZE" >said
USER guest
EXPOSE 80 53/udp 90-91
VOLUME /data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
ENTRYPOINT exec cat
CMD ["said"]
`}, "--build-arg", "BASE=box", "--build-arg", "KEPT=yes")
	testkit.Golden(t, m.ok("inspect", "--format", "{{json .Config}}", "out"), "build-config.golden")
	if out := m.in("cat /srv/deep/said; ls -ld /srv/deep"); !strings.HasPrefix(out, "env yes a nobody small\ndrwxr-xr-x") {
		t.Errorf("RUN sees %q", out)
	}
	got := m.build(m.files(map[string]string{"Dockerfile": "FROM box\nARG OWN\n"}), "--build-arg", "OTHER=1")
	if got.status != 0 || !strings.Contains(got.err, `warning: no ARG asks for the build argument "OTHER"`) {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsCopied(t *testing.T) {
	testkit.HostUnchanged(t)
	m := bench(t)
	dir := m.files(map[string]string{
		"Dockerfile": `FROM box
RUN mkdir -p /usr/lib /there && chmod 700 /there && ln -s usr/lib /lib && echo old >/there/old
COPY a.txt b.txt /many/
COPY a.txt /one
COPY a.txt /there
COPY --chown=guest:friends --chmod=640 *.txt /owned/
COPY --chown=7 a.txt /seven
COPY tree /tree
COPY tree /
COPY tree/.. /all/
COPY link /followed
WORKDIR /work
COPY a.txt .
ADD archive.tar.gz /unpacked
ADD a.txt /added
`,
		"a.txt": "a\n", "b.txt": "b\n", "tree/lib/so": "so\n", "tree/link@": "/etc/shadow", "link@": "a.txt",
		"secret/key": "s", "secret/public": "p", "x.log": "x", ".dockerignore": "# comment\nsecret\n!secret/public\n*.log\narchive*\n!archive.tar.gz\n",
	})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	m.must(w.WriteHeader(&tar.Header{Name: "in/file", Mode: 0o600, Size: 2, Uid: 5, Gid: 6}))
	_, err := w.Write([]byte("f\n"))
	m.must(err)
	m.must(w.WriteHeader(&tar.Header{Name: "in/hard", Typeflag: tar.TypeLink, Linkname: "in/file"}))
	m.must(w.Close())
	m.must(z.Close())
	m.must(os.WriteFile(filepath.Join(dir, "archive.tar.gz"), packed.Bytes(), 0o644))
	if got := m.build(dir, "--tag", "out"); got.status != 0 {
		t.Fatal(got.err)
	}
	const list = `cd /; /bin/busybox find all many one there owned seven tree lib usr followed work unpacked added link ! -name archive.tar.gz |
/bin/busybox sort | while read f; do echo "$(/bin/busybox stat -c '%N %A %u:%g %h' $f)"; done`
	testkit.Golden(t, withoutLinks(m.in(list)), "build-copied.golden")
	if out := m.in("cat /there/a.txt /followed /lib/so /work/a.txt /unpacked/in/hard"); out != "a\na\nso\na\nf\n" {
		t.Errorf("contents: %q", out)
	}
}

// withoutLinks takes what follows the owner out of the lines of directories: how many
// links one has depends on the file system.
func withoutLinks(list string) string {
	return regexp.MustCompile(`(?m)( d[rwxst-]{9} \d+:\d+) .*$`).ReplaceAllString(list, "$1")
}

// What decides whether a step is done again: what it makes, and what was before.
func TestTheCache(t *testing.T) {
	testkit.HostUnchanged(t)
	m := bench(t)
	dir := m.files(map[string]string{"Dockerfile": "FROM box\nCOPY f /f\nARG X=1\nRUN echo $X\n", "f": "one"})
	cached := func(want string, flags ...string) {
		t.Helper()
		got := m.build(dir, flags...)
		if have := regexp.MustCompile(`(?m)^CACHED.*\] (\w+)`).FindAllStringSubmatch(got.err, -1); got.status != 0 || strings.TrimSpace(want) != joined(have) {
			t.Errorf("%q are cached, want %q: %s", joined(have), want, got.err)
		}
	}
	f := filepath.Join(dir, "f")
	cached("")
	cached("COPY RUN")
	m.must(os.Chtimes(f, time.Now(), time.Unix(1, 0)))
	cached("COPY RUN") // a fresh copy of a repository has other times
	cached("COPY", "--build-arg", "X=2")
	m.must(os.Chmod(f, 0o600))
	cached("")
	m.must(os.WriteFile(f, []byte("two"), 0o600))
	cached("")
	cached("COPY RUN")
	cached("", "--no-cache")
	m.ok("gc") // while it is named, nothing of it goes
	cached("COPY RUN")
	layers, err := filepath.Glob(filepath.Join(m.root, "images/layers/sha256/*"))
	m.must(err)
	for _, l := range layers {
		m.must(os.RemoveAll(l))
	}
	m.ok("fsck", "--repair")
	cached("COPY RUN")
}

func joined(found [][]string) string {
	var words []string
	for _, f := range found {
		words = append(words, f[1])
	}
	return strings.Join(words, " ")
}

func TestOnlyTheStagesThatAreNeeded(t *testing.T) {
	testkit.HostUnchanged(t)
	m := bench(t)
	recipe := map[string]string{"Dockerfile": `FROM box AS broken
RUN false
FROM box AS First
ARG WORD=inherited
RUN echo one >/one
FROM first AS second
RUN echo two $WORD >/two
FROM scratch
COPY --from=1 /one /
COPY --from=box /text /text
`}
	if got := m.built(recipe); strings.Contains(got.err, "false") || strings.Contains(got.err, "two") {
		t.Errorf("stages that nobody needs: %s", got.err)
	}
	m.built(recipe, "--target", "second")
	if out := m.in("cat /one /two"); out != "one\ntwo inherited\n" {
		t.Errorf("%q", out)
	}
}

// With a time that is given, what is made depends on the input alone.
func TestABuildCanBeRepeated(t *testing.T) {
	testkit.HostUnchanged(t)
	m := bench(t)
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	named := map[string]string{"Dockerfile": "FROM box\nCOPY f /f\nRUN echo x >/x\nWORKDIR /new\n", "f": "x"}
	first := m.built(named)
	time.Sleep(time.Second) // the times of files differ
	if again := m.built(named, "--no-cache"); again.out != first.out {
		t.Errorf("%s%s", first.out, again.out)
	}
	if out := m.in("/bin/busybox stat -c %Y /f /x /new"); out != strings.Repeat("1000000000\n", 3) {
		t.Errorf("times: %q", out)
	}
	if created := m.ok("inspect", "--format", "{{.Created}}", "out"); !strings.HasPrefix(created, "2001-09-09 01:46:40") {
		t.Error(created)
	}
}

// CVE-2018-15664 and its like: a name of the context, or of an image, that leads to a
// file of the host. Each of these would copy the host's, or write there.
func TestNamesThatLeadOut(t *testing.T) {
	testkit.HostUnchanged(t)
	m := bench(t)
	outside := filepath.Join(t.TempDir(), "secret")
	m.must(os.WriteFile(outside, []byte("secret"), 0o600))
	for name, c := range map[string]struct{ copy, want string }{
		"absolute link":         {"COPY absolute /x", "is not in the build context"},
		"relative link":         {"COPY relative /x", "is not in the build context"},
		"below a linked folder": {"COPY folder/secret /x", "is not in the build context"},
		"pattern":               {"COPY folder/* /x", "is not in the build context"},
		"dots":                  {"COPY ../secret /x", "is outside of the build context"},
		"hidden dots":           {"COPY /a/../../secret /x", "is outside of the build context"},
		"link of a stage":       {"COPY --from=evil /absolute /x", `is not in "evil"`},
		"archive":               {"ADD out.tar /x", "leads out of the archive"},
		"whiteout":              {"COPY .wh.text /x/", "says that a file is deleted"},
		"destination":           {"COPY f /up/x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := m.files(map[string]string{
				"f": "f", "absolute@": outside, "relative@": strings.Repeat("../", 20) + outside[1:], "folder@": filepath.Dir(outside), ".wh.text": "",
				"Dockerfile": "FROM box AS evil\nRUN ln -s " + outside + " /absolute; ln -s " + strings.Repeat("../", 20) + filepath.Dir(outside)[1:] + " /up\nFROM evil\n" + c.copy + "\n",
			})
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			m.must(w.WriteHeader(&tar.Header{Name: "a/../../../out", Mode: 0o600}))
			m.must(w.Close())
			m.must(os.WriteFile(filepath.Join(dir, "out.tar"), archive.Bytes(), 0o600))
			got := m.build(dir)
			if c.want != "" && (got.status != 125 || !strings.Contains(got.err, c.want)) || c.want == "" && got.status != 0 {
				t.Errorf("%+v", got)
			}
			if entries, err := os.ReadDir(filepath.Dir(outside)); err != nil || len(entries) != 1 {
				t.Errorf("beside the secret there is %v, %v", entries, err)
			}
		})
	}
}

func TestMistakesInARecipe(t *testing.T) {
	testkit.HostUnchanged(t)
	m := bench(t)
	var all strings.Builder
	for _, recipe := range []string{
		"", "RUN true", "FROM", "FROM box\nRUN exit 3", "FROM box\nRUN [\"/no/program\"]", "FROM box\nFLY", "FROM box\n\nCOPY missing /x",
		"FROM box\nCOPY f", "FROM box\nCOPY f Dockerfile /x", "FROM box\nCOPY f /bin/busybox/", "FROM box\nCOPY --chmod=rw f /x", "FROM box\nCOPY --chown=ghost f /x",
		"FROM box\nCOPY ignored /x", "FROM box\nADD https://example.org/x /x", "FROM box\nRUN echo too early\nONBUILD RUN true", "FROM box\nRUN --mount=type=cache,target=/c true",
		"FROM box\nCOPY --link f /x", "FROM box\nUSER ghost\nRUN true", "FROM --platform=linux/s390x box", "FROM $NONE", "FROM scratch\nRUN true",
		"FROM box AS first\nCOPY --from=later /f /\nFROM box AS later\nFROM first", "FROM box\nEXPOSE 99999", "FROM box\nRUN <<E\ntrue\nE", "FROM box\nMAINTAINER me", "FROM box\nSTOPSIGNAL x",
		"FROM box\nVOLUME data", "FROM box\nWORKDIR /text", "FROM scratch\nCMD true", "FROM box\nCOPY --from=tools! /made /made",
	} {
		got := m.build(m.files(map[string]string{"Dockerfile": recipe + "\n", "f": "f", "ignored": "", ".dockerignore": "ignored"}), "-t", "never")
		said := regexp.MustCompile(`(?m)^(CACHED )?\[.*\n`).ReplaceAllString(got.err, "")
		said = regexp.MustCompile(`/\S*/(Dockerfile)`).ReplaceAllString(said, "$1")
		said = regexp.MustCompile(` \(step \d+ of \d+\)`).ReplaceAllString(said, "")
		all.WriteString(strings.ReplaceAll("\n"+recipe, "\n", "\n    ") + "\n" + said)
		if got.status == 0 {
			t.Errorf("%q: no error", recipe)
		}
	}
	if got := m.do("inspect", "never"); got.status == 0 {
		t.Error("an image that was not whole got its name")
	}
	testkit.Golden(t, all.String(), "build-mistakes.golden")
	m.wantNothing()
}

// Ctrl-C ends the build, whatever the step makes of it.
func TestABuildWhoseStepCatchesCtrlC(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	m := bench(t)
	for _, until := range []string{"[2/3] RUN", "\nstarted\n"} { // before there is a container, and when it has set its trap
		// A step that has ended well would be taken from the cache: each has its own text.
		text := "FROM box\nRUN trap 'exit 0' INT; echo started; : " + strconv.Quote(until) + "; while :; do sleep 0.01; done\nRUN echo further\n"
		dir := m.files(map[string]string{"Dockerfile": text})
		r := m.start(until, "build", "--network", "none", "--tag", "never", dir)
		r.signal(2)
		if status := r.end(); status != 130 || !strings.Contains(r.said(), "interrupted") || strings.Contains(r.said(), "further") {
			t.Errorf("after %q: status %d: %s", until, status, r.said())
		}
		m.wantNothing()
	}
}

// Ctrl-C ends the step; after kill -9 the next command unmakes what is left.
func TestABuildThatEndsEarly(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	m := bench(t)
	dir := m.files(map[string]string{"Dockerfile": "FROM box\nRUN echo kept >/kept\nRUN touch /lost; echo started; sleep 1000\n"})
	args := []string{"build", "--network", "none", "--tag", "never", dir}
	first := m.start("\nstarted\n", args...)
	first.signal(2)
	if status := first.end(); status != 130 || !strings.Contains(first.said(), "interrupted") {
		t.Errorf("status %d: %s", status, first.said())
	}
	m.wantNothing()
	second := m.start("\nstarted\n", args...)
	second.signal(9)
	second.end()
	m.ok("gc")
	m.wantNothing()
	if left, err := os.ReadDir(filepath.Join(m.root, "images/tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in the store: %v, %v", left, err)
	}
	m.ok("fsck")
	if list := m.ok("images", "--all"); strings.Contains(list, "never") || strings.Count(list, "build-cache") != 1 {
		t.Errorf("images: %s", list)
	}
	if !strings.Contains(second.said(), "CACHED [2/3] RUN echo kept") {
		t.Errorf("the step that was whole is done again: %s", second.said())
	}
}
