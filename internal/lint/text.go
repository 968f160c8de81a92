package lint

import (
	"regexp"
	"strings"
)

// The words are put together, so that this file passes its own rule.
var (
	leftover = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	homePath = regexp.MustCompile(`(^|[^\w.$}])/(ro` + `ot|home/\w+|Users/\w+|wo` + `rk)/|C:\\` + `Users`)
	// A rule of the protocol is defined by a bold id at the start of a paragraph or a list entry.
	defined = regexp.MustCompile(`(?m)^(?:[-*] )?\*\*([A-Z][0-9]+)\b`)
	cited   = regexp.MustCompile(`\b[Rr]ules?\s+([A-Z][0-9]+(?:(?:,\s*|\s+and\s+|\s+to\s+|,\s+and\s+)[A-Z][0-9]+)*)`)
	ruleID  = regexp.MustCompile(`[A-Z][0-9]+`)
)

// protocolFile defines the rules that code cites.
const protocolFile = "docs/protocol.md"

func (c *checker) text(source Source) {
	for i, line := range strings.Split(source.Text, "\n") {
		if word := leftover.FindString(line); word != "" {
			c.add(source.Name, i+1, "leftover",
				"%s: do it now, or list it under what is not done yet in the README", word)
		}
		if homePath.MatchString(line) {
			c.add(source.Name, i+1, "machine path",
				"a path of one machine means nothing on another: make it relative or a setting")
		}
	}
}

// citable collects the ids that the protocol document defines; nil if there is no such document.
func citable(sources []Source) map[string]bool {
	var rules map[string]bool
	for _, source := range sources {
		if source.Name != protocolFile {
			continue
		}
		rules = map[string]bool{}
		for _, match := range defined.FindAllStringSubmatch(source.Text, -1) {
			rules[match[1]] = true
		}
	}
	return rules
}

// citations checks that each rule that a comment cites is one that the document defines.
func (c *checker) citations(f goFile) {
	if c.rules == nil {
		return
	}
	for _, group := range f.syntax.Comments {
		for _, match := range cited.FindAllStringSubmatch(group.Text(), -1) {
			for _, id := range ruleID.FindAllString(match[1], -1) {
				if !c.rules[id] {
					c.at(f, group, "citation",
						"rule %s is not in %s: cite the rule that holds, or write it there", id, protocolFile)
				}
			}
		}
	}
}
