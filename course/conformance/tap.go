package conformance

// This file reads what a program of the suite prints, TAP version 13
// (testanything.org/tap-version-13-specification.html): a line for each point,
// "ok 1 - text" or "not ok 2 - text"; below it, in a block between "---" and
// "...", what else there is to say, here always as JSON.
//
// Two habits of the suite need care. Some of its programs report a fault not
// as a point but as a block with an "error" that belongs to no point, and then
// end as if nothing had been: that is a complaint. And where a program runs
// runtimetest in a container several times, each run is a single point, and
// the points that runtimetest printed are in a block before it.

import (
	"bufio"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// Point is one point of a program.
type Point struct {
	Number  int
	Text    string
	OK      bool
	Skipped bool     // the suite itself did not look: "ok 7 # SKIP …"
	Inside  []string // the failing points in the container, where this is a run of runtimetest
}

// testimony is what a program said.
type testimony struct {
	points     []Point
	complaints []string
}

// pointLine is "ok" or "not ok", the number, and a text or a directive.
var pointLine = regexp.MustCompile(`^(not )?ok (\d+)(?: - | )?(.*)$`)

// parseTAP reads the whole output of a program. Lines that are not TAP are
// passed over, as the protocol asks for.
func parseTAP(output string) testimony {
	var r testimony
	var inside []string // of the next point
	follows := false    // the line before was a point: a block belongs to it
	lines := bufio.NewScanner(strings.NewReader(output))
	lines.Buffer(nil, 1<<20+len(output))
	for lines.Scan() {
		if p, ok := parsePoint(lines.Text()); ok {
			p.Inside, inside = inside, nil
			r.points, follows = append(r.points, p), true
			continue
		}
		if lines.Text() != "  ---" {
			continue
		}
		b := readBlock(lines)
		if b.Error != "" && !follows {
			r.complaints = append(r.complaints, firstLine(b.Error))
		}
		for _, p := range parseTAP(b.Stdout).points {
			if !p.OK {
				inside = append(inside, p.Text)
			}
		}
		follows = false
	}
	return r
}

// parsePoint reads a line that is a point.
func parsePoint(line string) (Point, bool) {
	match := pointLine.FindStringSubmatch(line)
	if match == nil {
		return Point{}, false
	}
	number, err := strconv.Atoi(match[2])
	return Point{
		Number: number, Text: match[3], OK: match[1] == "",
		Skipped: strings.HasPrefix(match[3], "# SKIP"),
	}, err == nil
}

// block is what a block may hold, as far as it matters here.
type block struct {
	Error  string `json:"error"`
	Stdout string `json:"stdout"`
}

// readBlock reads up to the end of a block. One that is not JSON says nothing
// that we look for.
func readBlock(lines *bufio.Scanner) block {
	var text strings.Builder
	for lines.Scan() && lines.Text() != "  ..." {
		text.WriteString(lines.Text())
	}
	var b block
	if err := json.Unmarshal([]byte(text.String()), &b); err != nil {
		return block{}
	}
	return b
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
