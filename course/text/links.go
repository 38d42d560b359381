package text

// This file checks links: those to files and folders of the tree, and those to
// headings. Links to other hosts are left alone: a test must not need a
// network, and must not fail because someone else's machine is down.

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"skiff.example/course/report"
)

var (
	inlineLink  = regexp.MustCompile(`\]\(\s*<?([^()<>\s]+)>?(?:\s+"[^"]*")?\s*\)`)
	htmlLink    = regexp.MustCompile(`<[a-z][^>]*\s(?:href|src)="([^"]*)"`)
	definition  = regexp.MustCompile(`(?m)^ {0,3}\[([^\]^][^\]]*)\]:[ \t]*<?([^\s>]+)>?`)
	useOfLabel  = regexp.MustCompile(`\[([^\[\]]+)\]\[([^\[\]]*)\]`)
	heading     = regexp.MustCompile(`(?m)^ {0,3}#{1,6}[ \t]+(.*?)[ \t#]*$`)
	htmlAnchor  = regexp.MustCompile(`<a\s+(?:id|name)="([^"]+)"`)
	linkScheme  = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
	lineAnchor  = regexp.MustCompile(`^L\d+`)
	linkInTitle = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// checkLinks reports links that lead nowhere.
func (t *tree) checkLinks(p *page) []report.Problem {
	var problems []report.Problem
	check := func(offset int, target string) {
		if err := t.follow(p, target); err != nil {
			problems = append(problems, p.at(p.line(offset), "dead link %q: %v", target, err))
		}
	}
	for _, form := range []*regexp.Regexp{inlineLink, htmlLink} {
		for _, m := range form.FindAllStringSubmatchIndex(p.masked, -1) {
			check(m[2], p.masked[m[2]:m[3]])
		}
	}
	labels := map[string]bool{}
	for _, m := range definition.FindAllStringSubmatchIndex(p.masked, -1) {
		labels[strings.ToLower(p.masked[m[2]:m[3]])] = true
		check(m[4], p.masked[m[4]:m[5]])
	}
	for _, m := range useOfLabel.FindAllStringSubmatchIndex(p.masked, -1) {
		label := p.masked[m[4]:m[5]]
		if label == "" {
			label = p.masked[m[2]:m[3]]
		}
		if !labels[strings.ToLower(label)] {
			problems = append(problems, p.at(p.line(m[0]), "link to %q, which the page does not define", label))
		}
	}
	return problems
}

// follow returns an error when a link of the page leads nowhere. A target that
// begins with a slash counts from the root of the tree, as on a code host.
func (t *tree) follow(p *page, target string) error {
	if linkScheme.MatchString(target) || strings.HasPrefix(target, "//") {
		return nil
	}
	name, anchor, _ := strings.Cut(target, "#")
	file := p.name
	if rooted, ok := strings.CutPrefix(name, "/"); ok {
		file = path.Clean(rooted)
	} else if name != "" {
		file = path.Join(path.Dir(p.name), name)
	}
	if !filepath.IsLocal(file) {
		return errors.New("it leads out of the tree")
	}
	if _, err := os.Stat(filepath.Join(t.root, file)); err != nil {
		return errors.New("there is no such file")
	}
	switch {
	case anchor == "":
		return nil
	case lineAnchor.MatchString(anchor):
		return errors.New("line numbers drift: link to the file, and show the code as a block")
	case path.Ext(file) != ".md":
		return errors.New("only a Markdown file has headings")
	}
	to, err := t.page(file)
	if err != nil {
		return err
	}
	if anchors := to.anchors(); !slices.Contains(anchors, anchor) {
		return fmt.Errorf("there is no such heading, but #%s", strings.Join(anchors, " #"))
	}
	return nil
}

// anchors returns the names that the page's headings have in links, as GitHub
// makes them: lower case, letters, digits, - and _ only, spaces turned into -,
// and -1, -2 … added to names that were there before.
func (p *page) anchors() []string {
	var anchors []string
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(p.prose, -1) {
		title := linkInTitle.ReplaceAllString(m[1], "$1")
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		if n := seen[name]; n > 0 {
			anchors = append(anchors, fmt.Sprintf("%s-%d", name, n))
		} else {
			anchors = append(anchors, name)
		}
		seen[name]++
	}
	for _, m := range htmlAnchor.FindAllStringSubmatch(p.masked, -1) {
		anchors = append(anchors, m[1])
	}
	return anchors
}
