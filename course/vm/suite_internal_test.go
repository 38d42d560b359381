package vm

import "testing"

// Of a package whose tests run on request, those that always run still do.
func TestTheSuiteHasWhatAlwaysRuns(t *testing.T) {
	runs := map[string]string{}
	for _, p := range Suite() {
		runs[p.Dir] = p.run
	}
	for _, p := range All() {
		run, there := runs[p.Dir]
		if want := p.OnRequest == "" || p.Always != ""; there != want || run != p.Always {
			t.Errorf("%s: in the suite %v, with the tests %q", p.Dir, there, run)
		}
	}
}
