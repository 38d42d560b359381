package resctrl

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"skiff.example/stage01-chroot/hint"
)

// The lines of a schemata file, "L3:0=7f;1=7f": a resource, and what the group gets of
// it in each domain, such as a cache. Documentation/filesystems/resctrl.rst,
// "Schemata files".

// compare makes sure that a group that is there already gets what the configuration
// says. A domain that is not named may have any value.
func (g *Group) compare() error {
	if len(g.schemas()) == 0 {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(g.dir, "schemata"))
	if err != nil {
		return fmt.Errorf("linux.intelRdt: %w", err)
	}
	has := map[string]string{}
	for line := range strings.Lines(string(text)) {
		for _, share := range shares(line) {
			has[share.of] = share.value
		}
	}
	for _, line := range g.schemas() {
		if !slices.ContainsFunc(shares(line), func(s share) bool { return has[s.of] != s.value }) {
			continue
		}
		return hint.Add(fmt.Errorf("linux.intelRdt: group %q exists, and does not have %q", g.dir, line),
			"it has: "+strings.Join(strings.Fields(string(text)), " ")+"; take another closID")
	}
	return nil
}

// A share is what a group gets of one domain of a resource.
type share struct{ of, value string }

// shares are those of one line. Values that are hexadecimal numbers have their shortest
// form: the kernel writes them with zeros in front.
func shares(line string) (all []share) {
	resource, domains, _ := strings.Cut(strings.TrimSpace(line), ":")
	for domain := range strings.SplitSeq(domains, ";") {
		number, value, _ := strings.Cut(strings.TrimSpace(domain), "=")
		if n, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil {
			value = strconv.FormatUint(n, 16)
		}
		all = append(all, share{strings.TrimSpace(resource) + ":" + strings.TrimSpace(number), value})
	}
	return all
}
