package look

import (
	"fmt"
	"math"
	"strings"
)

// Who is who in the user namespace of a process: /proc/PID/uid_map, gid_map
// and setgroups, user_namespaces(7).

// An IDMapping says that the Size ids from Inside on, in the user namespace of
// a process, are those from Here on in ours. All are at most 2³²−1.
type IDMapping struct{ Inside, Here, Size uint64 }

// readIDs reads the maps; a process without permission leaves them empty.
func (p *Process) readIDs() {
	var err error
	p.UIDMap, err = p.readMap("uid_map")
	p.unless(err)
	p.GIDMap, err = p.readMap("gid_map")
	p.unless(err)
	setgroups, err := p.read("setgroups")
	p.unless(err)
	p.Setgroups = strings.TrimSpace(setgroups)
}

// readMap reads one map: lines of three numbers.
func (p *Process) readMap(name string) ([]IDMapping, error) {
	text, err := p.read(name)
	if err != nil {
		return nil, err
	}
	var all []IDMapping
	for line := range strings.Lines(text) {
		var m IDMapping
		if _, err := fmt.Sscan(line, &m.Inside, &m.Here, &m.Size); err != nil {
			return nil, fmt.Errorf("look at process %d: %s says %q: %w", p.Pid, name, line, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// String says it in words: "0 is 1000 here", "1–65536 are 100000–165535".
func (m IDMapping) String() string {
	switch {
	case m == IDMapping{Size: math.MaxUint32}:
		return "everybody is the same here"
	case m.Size == 1:
		return fmt.Sprintf("%d is %d here", m.Inside, m.Here)
	}
	return fmt.Sprintf("%d–%d are %d–%d", m.Inside, m.Inside+m.Size-1, m.Here, m.Here+m.Size-1)
}

// idsInWords describes both maps.
func (p *Process) idsInWords() string {
	users, groups := mapInWords(p.UIDMap), mapInWords(p.GIDMap)
	words := users
	if groups != users {
		words = "users: " + users + "; groups: " + groups
	}
	if p.Setgroups == "deny" {
		words += "; setgroups is denied"
	}
	return words
}

func mapInWords(mappings []IDMapping) string {
	if len(mappings) == 0 {
		return "nobody is mapped"
	}
	var words []string
	for _, m := range mappings {
		words = append(words, m.String())
	}
	return strings.Join(words, ", ")
}
