package conformance

import (
	"testing"

	"gotest.tools/v3/assert"
)

// output is what a program of the suite might print: points with and without
// a block, a run of runtimetest in a container, complaints, and what is not TAP.
const output = `TAP version 13
ok 1 - it fails as it should
  ---
  {
    "error": "exit status 1"
  }
  ...
  ---
  {
    "error": "Hooks MUST be called in the listed order\nRefer to: somewhere"
  }
  ...
not ok 2
ok 3 # SKIP nothing is set
  ---
  {
    "stderr": "",
    "stdout": "TAP version 13\nok 1 - a\nnot ok 2 - b\n"
  }
  ...
not ok 4 - a run
# expect: 1, actual: 2
1..4
`

func TestTAP(t *testing.T) {
	got := parseTAP(output)
	assert.DeepEqual(t, got.points, []Point{
		{Number: 1, OK: true, Text: "it fails as it should"},
		{Number: 2},
		{Number: 3, OK: true, Skipped: true, Text: "# SKIP nothing is set"},
		{Number: 4, Text: "a run", Inside: []string{"b"}},
	})
	assert.DeepEqual(t, got.complaints, []string{"Hooks MUST be called in the listed order"})
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		stdout, stderr, death string
		want                  Verdict
		faults                []string
	}{
		{"ok 1 - a", "what does it say?", "", Passed, nil},
		{"1..0", "", "", Silent, nil},
		{"1..0", "runtime: no\nhint: none", "", Silent, []string{"said runtime: no"}},
		{"ok 1 # SKIP a\nok 2 # SKIP b", "", "", Complains, []string{"complaint every point is skipped"}},
		{output, "", "", Failed, []string{"not ok 2 ", "not ok 4 a run", "inside 4 b", "complaint Hooks MUST be called in the listed order"}},
		{
			"ok 1 - a", "failed to create the container\nskiff-oci: open /run/tmp/ocitest17/x (step 7 of 31)\nexit status 1\n", "exit status 1", Died,
			[]string{"exit status 1", "said skiff-oci: open BUNDLE/x"},
		},
		{"", "panic: no\n\ngoroutine 1 [running]:\nmain.main()\n", "exit status 2", Died, []string{"exit status 2", "said panic: no"}},
	} {
		o := judge("program", ended{stdout: c.stdout, stderr: c.stderr, death: c.death})
		assert.Equal(t, o.Verdict(), c.want)
		assert.DeepEqual(t, o.Faults(), c.faults)
	}
}
