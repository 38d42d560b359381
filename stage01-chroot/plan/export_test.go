package plan

// Only is a plan of one of the steps, with the registers of this one: a test
// tries the steps of a plan one by one.
func (p *Plan) Only(s Step) *Plan {
	q := *p
	q.steps = []Step{s}
	return &q
}
