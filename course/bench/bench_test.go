package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"

	"skiff.example/course/bench/taken"
	"skiff.example/stage01-chroot/testkit"
)

// bench runs the benchmark with a skiff-oci.
func bench(t *testing.T, skiff string) (string, error) {
	t.Helper()
	testkit.Need(t, "runc", "crun", "busybox")
	out, err := exec.Command(testkit.Build(t, "."), "-runs", "3", "-many", "20", "-pull", "", "-skiff", skiff).CombinedOutput()
	return string(out), err
}

func TestAllAreComparedAndNothingIsLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t) // containers that run detached lose their parent
	out, err := bench(t, testkit.Build(t, "skiff.example/final/cmd/skiff-oci"))
	assert.NilError(t, err, out)
	for _, want := range []string{
		"run of /bin/true, 3 runs each", "create, start and delete of /bin/true, 3 runs", "exec of /bin/true, 3 runs",
		"100 at once: run of /bin/true, 1 runs", "state, with 20 containers, 1 runs", "list, with 20 containers, 1 runs",
		"\nno container ", "\nrunc ", "\ncrun ", "\nskiff-oci ", "ok ", "static C ", "\nempty Go ",
	} {
		assert.Check(t, cmp.Contains(out, want))
	}
	if !strings.Contains(out, errNoPart.Error()) {
		assert.Check(t, cmp.Contains(out, " × static C; the reach is at most 1.60\n"))
	}
}

// TestARuntimeThatRunsNothingIsRefused gives true as skiff-oci: nothing is as
// fast, and it reports success.
func TestARuntimeThatRunsNothingIsRefused(t *testing.T) {
	testkit.HostUnchanged(t)
	program, err := exec.LookPath("true")
	assert.NilError(t, err)
	out, err := bench(t, program)
	assert.ErrorContains(t, err, "exit status 1")
	assert.Equal(t, out, `bench: skiff-oci: the container printed "" with exit status 0, want "process 1 on runc" with 7`+"\n")
}

func TestTable(t *testing.T) {
	times := func(ms ...time.Duration) (samples []taken.Sample) {
		for _, wall := range ms {
			samples = append(samples, taken.Sample{Wall: wall * time.Millisecond, CPU: wall * time.Millisecond / 2, Peak: int64(wall) * 1e6})
		}
		return samples
	}
	var out strings.Builder
	err := writeTable(&out,
		workload{title: "run of /bin/true", reaches: []reach{{crun, 0.9}, {runc, 0.35}}},
		[]candidate{{name: "no container"}, {name: "runc"}, {name: "crun"}, {name: "skiff-oci"}},
		[][]taken.Sample{times(1, 1, 1, 1), times(40, 20, 18, 20), times(10, 10, 9, 500), times(6, 9, 10, 50)})
	assert.NilError(t, err)
	assert.Equal(t, out.String(), `run of /bin/true, 4 runs each, in turn; medians

               wall ms  × runc  × crun     CPU ms  × runc  × crun  peak MB
no container       1.0    0.05    0.10        0.5    0.05    0.10      1.0
runc              20.0    1.00    2.00       10.0    1.00    2.00     20.0
crun              10.0    0.50    1.00        5.0    0.50    1.00     10.0
skiff-oci          9.5    0.47    0.95        4.8    0.47    0.95      9.5

not ok  skiff-oci takes 0.95 × crun; the reach is at most 0.90
not ok  skiff-oci takes 0.47 × runc; the reach is at most 0.35

`)
}

func TestTheTableWithC(t *testing.T) {
	var out strings.Builder
	load := workload{title: "create", starts: 3, reaches: []reach{{byHand, 1.6}}}
	candidates := []candidate{nothing, {name: "runc"}, {name: "crun"}, {name: "skiff-oci"}, staticC, empty}
	took := func(ms time.Duration) []taken.Sample {
		return []taken.Sample{{Wall: ms * time.Millisecond, CPU: ms * time.Millisecond, Peak: 2e6}}
	}
	samples := [][]taken.Sample{took(1), took(40), took(20), took(9), took(6), took(3)}
	assert.NilError(t, writeTable(&out, load, candidates, samples))
	assert.Check(t, cmp.Contains(out.String(), `
skiff-oci          9.0    0.23    0.45        9.0    0.23    0.45      2.0
static C           6.0    0.15    0.30        6.0    0.15    0.30      2.0
empty Go           3.0    0.07    0.15        3.0    0.07    0.15      2.0

ok      skiff-oci takes 1.50 × static C; the reach is at most 1.60
ok      its memory is 1.00 × crun's; the reach is at most 1.50
        static C would take 1.33 × as long if it started like an empty Go program: 0.20 × runc, 0.40 × crun; skiff-oci takes 1.50 × as long
`))

	out.Reset() // it takes no part
	assert.NilError(t, writeTable(&out, load, slices.Delete(candidates, 4, 5), slices.Delete(samples, 4, 5)))
	assert.Check(t, !strings.Contains(out.String(), "the reach is at most 1.60") && !strings.Contains(out.String(), "would"), out.String())
}

func TestPullTable(t *testing.T) {
	at := func(wall time.Duration, peak int64) []taken.Sample {
		return []taken.Sample{{Wall: wall * time.Millisecond, CPU: 2 * wall * time.Millisecond, Peak: peak}}
	}
	var out strings.Builder
	err := writePulls(&out, &debian{blobs: make([]string, 8), size: 311e6, compressed: 125e6}, pullers("skiff", nil),
		[][]taken.Sample{at(1200, 8e6), at(5000, 31e6), at(3700, 81e6), at(4100, 65e6), at(2000, 120e6)})
	assert.NilError(t, err)
	assert.Equal(t, out.String(), `pull and unpack of a Debian image, 311 MB in 8 layers, 125 MB compressed; 1 runs each, in turn; medians

                 wall ms   × skiff   CPU ms  peak MB
gunzip only         1200      0.60     2400      8.0
skopeo + umoci      5000      2.50    10000     31.0
podman              3700      1.85     7400     81.0
containerd          4100      2.05     8200     65.0
skiff               2000      1.00     4000    120.0

not ok  skiff takes 0.54 × podman; the reach is at most 0.50
not ok  its memory is 120.0 MB; the reach is at most 100

`)
}

// TestAParentsMemoryDoesNotCount measures a shell from a process that is much
// larger.
func TestAParentsMemoryDoesNotCount(t *testing.T) {
	ours := bytes.Repeat([]byte("x"), 64<<20)
	out, err := exec.Command(testkit.Build(t, "../cmd/measure"), `{"Commands": [["sh", "-c", "exit 7"]]}`).Output()
	runtime.KeepAlive(ours)
	assert.NilError(t, err)
	var s taken.Sample
	assert.NilError(t, json.Unmarshal(out, &s), "%s", out)
	assert.Equal(t, s.Status, 7)
	assert.Check(t, s.Wall > 0 && s.CPU > 0 && s.Peak > 0, "%s", out)
	assert.Check(t, s.Peak < 16<<20, "%s", out)
}
