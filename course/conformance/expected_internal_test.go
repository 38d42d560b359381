package conformance

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// list is in the form of expected.txt.
const list = `# a comment
good ok 1 skipped

bad not ok
	not ok 2 b
		machine: it has none
	not ok 3 c
		some: others have one more
flaky ok
	not ok 1 a
		race: it may be too slow
`

// outcome is that of a program with this output.
func outcome(program, stdout string) Outcome { return judge(program, ended{stdout: stdout}) }

func TestADifferenceIsAProblemForBetterOrWorse(t *testing.T) {
	good := outcome("good", "ok 1 - a\nok 2 # SKIP b")
	bad := outcome("bad", "ok 1 - a\nnot ok 2 - b")
	flaky := outcome("flaky", "ok 1 - a\nok 2 - b")
	for _, c := range []struct {
		outcomes []Outcome
		want     string // "" means none
	}{
		{[]Outcome{good, bad, flaky}, ""},
		{[]Outcome{good, bad, outcome("flaky", "not ok 1 - a\nok 2 - b")}, ""},
		{[]Outcome{good, outcome("bad", "ok 1 - a\nnot ok 2 - b\nnot ok 3 - c"), flaky}, ""},
		{[]Outcome{good, outcome("bad", "ok 1 - a\nok 2 - b\nnot ok 3 - c"), flaky}, ":4: bad is not as listed; it is now:\nbad not ok\n\tnot ok 3 c"},
		{[]Outcome{good, bad, outcome("flaky", "not ok 1 - a\nnot ok 2 - b")}, ":9: flaky is not as listed; it is now:\nflaky not ok\n\tnot ok 1 a\n\tnot ok 2 b"},
		{[]Outcome{good, bad, outcome("flaky", "1..0")}, ":9: flaky is not as listed; it is now:\nflaky silent"},
		{[]Outcome{good, outcome("bad", "ok 1 - a\nok 2 - b"), flaky}, ":4: bad is not as listed; it is now:\nbad ok"},
		{[]Outcome{outcome("good", "ok 1 - a\nok 2 - b"), bad, flaky}, ":2: good is not as listed; it is now:\ngood ok"},
		{[]Outcome{good, bad}, ":9: flaky was not run"},
		{[]Outcome{good, bad, flaky, outcome("new", "ok 1 - a")}, ": new is not listed; it is now:\nnew ok"},
	} {
		problems, err := compare(list, c.outcomes, false)
		assert.NilError(t, err)
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.String(), expectedFile))
		}
		assert.Equal(t, strings.Join(got, "\n"), c.want)
	}
	problems, err := compare(list, []Outcome{good}, true)
	assert.NilError(t, err)
	assert.Equal(t, len(problems), 0)
}

func TestAListWithoutReasonsIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"a ok\na ok\n":             ":2: a a second time",
		"a not ok\n\tnot ok 1 x\n": ":1: a has a fault without a reason",
		"a not ok\n\tnot ok 1 x\n\t\tmoon: it is full\n":      ":3: want faults, then one of machine",
		"a not ok\n\tnot ok 1 x\n\t\tmachine\n":               ":3: want faults, then one of machine",
		"a ok\n\t\tmachine: nothing is wrong\n":               ":2: want faults, then one of machine",
		"a not ok\n\tnot ok 1 x\n\t\ttest: y\n\tnot ok 2 z\n": ":1: a has a fault without a reason",
	} {
		_, err := compare(text, nil, true)
		assert.ErrorContains(t, err, expectedFile+want)
	}
}

func TestTable(t *testing.T) {
	columns := []Column{
		{"ours", []Outcome{outcome("default", "ok 1 - a\nok 2 # SKIP b"), outcome("hooks", "not ok 1 - a\nok 2 - b"), outcome("stop", "1..0")}},
		{"other", []Outcome{outcome("default", "not ok 1 - a"), outcome("hooks", "1..0"), judge("stop", ended{death: "exit status 1"})}},
	}
	var out strings.Builder
	assert.NilError(t, WriteTable(&out, columns))
	assert.Equal(t, out.String(), `program  ours             other
default  ok 1, 1 skipped  not ok 1 of 1
hooks    not ok 1 of 2    silent
stop     silent           died

ours: of 3 programs 2 pass, 1 of these by silence; 0 complain, 1 have a point that fails, 0 die
other: of 3 programs 1 pass, 1 of these by silence; 0 complain, 1 have a point that fails, 1 die
`)
	assert.DeepEqual(t, Behind(columns), []string{"hooks: not ok with ours, but silent with other"})
	out.Reset()
	assert.NilError(t, WriteTable(&out, columns[:1]))
	assert.Assert(t, strings.Contains(out.String(), "hooks    not ok 1 of 2    not ok 1 a\n"), out.String())
}
