package plan

import "testing"

// No system call has seven arguments, and no constructor makes such a step.
func TestSevenArgumentsAreRefused(t *testing.T) {
	p := &Plan{}
	p.Add(call("seven", 0, make([]Arg, 7), "call seven"))
	const want = "plan: step 1, call seven: 7 arguments and 0 accepted errnos, want at most 6 and 3"
	if _, err := p.Compile(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
