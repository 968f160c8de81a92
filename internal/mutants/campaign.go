package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// campaign is one run of many mutants.
type campaign struct {
	options options
	root    string
	out     io.Writer
	results []result
	silent  int // hunts that were silent on the product as it is
}

// result is what became of one mutant, by one hunter.
type result struct {
	mutant mutant
	hunt   hunt
	kill   *kill // nil: it survived all its hunters
	spent  time.Duration
	notes  []string // failures that are no kills
}

// try builds one mutant and lets its hunters look until one kills.
func (c *campaign) try(m mutant) (err error) {
	changed, err := m.apply(c.root)
	if err != nil {
		return err
	}
	w, err := newWorkshop(c.root, changed, c.options.budget)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := result{mutant: m}
	killed := false
	for _, h := range m.hunts {
		o, err := w.run(h)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		r.spent += o.spent
		if o.failure != "" {
			r.notes = append(r.notes, fmt.Sprintf("%s failed, but no checker spoke: %s", h, o.failure))
		}
		if o.kill == nil {
			continue
		}
		killed = true
		r.hunt, r.kill = h, o.kill
		c.add(r)
		if !c.options.every {
			return nil
		}
		r = result{mutant: m}
	}
	if !killed {
		c.add(r)
	}
	return nil
}

func (c *campaign) add(r result) {
	c.results = append(c.results, r)
	line := "survived " + strings.Join(r.notes, "; ")
	if r.kill != nil {
		line = fmt.Sprintf("%s by %s %s", r.kill.checker, r.hunt, r.kill.after())
		if c.options.verbose {
			line += ": " + r.kill.told
		}
	}
	fmt.Fprintf(c.out, "%-32s %6.2f s  %s\n", r.mutant.name, r.spent.Seconds(), line)
}

// control lets each hunter that killed look at the product as it is, with as many seeds as its longest kill
// took, and twice as many as none: what it then finds is no sign of the fault.
func (c *campaign) control() (err error) {
	longest := map[string]hunt{}
	var names []string
	for _, r := range c.results {
		if r.kill == nil {
			continue
		}
		h := r.hunt
		if r.kill.seeds > 0 && h.runs > 0 {
			h.runs = r.kill.seeds
		}
		before, known := longest[h.String()]
		if !known {
			names = append(names, h.String())
		}
		if !known || before.runs < h.runs {
			longest[h.String()] = h
		}
	}
	w, err := newWorkshop(c.root, nil, 10*c.options.budget)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	slices.Sort(names)
	for _, name := range names {
		o, err := w.run(longest[name])
		switch {
		case err != nil:
			return err
		case o.kill != nil:
			return fmt.Errorf("control: %s fails on the product as it is: violation of %s: %s",
				name, o.kill.checker, o.kill.told)
		case o.failure != "":
			return fmt.Errorf("control: %s fails on the product as it is: %s", name, o.failure)
		}
		c.silent++
		fmt.Fprintf(c.out, "%-32s %6.2f s  silent on %d runs of %s\n", "(control)", o.spent.Seconds(),
			longest[name].runs, name)
	}
	return nil
}

// table prints what killed each mutant, aligned, and readable as Markdown.
func (c *campaign) table() {
	rows := [][]string{
		{"mutant", "rule", "what is left out", "killed by", "checker", "after", "seconds"},
	}
	for _, r := range c.results {
		row := []string{r.mutant.name, r.mutant.rule, r.mutant.fault, "none", "", "", ""}
		switch {
		case r.kill != nil:
			row[3], row[4], row[5] = r.hunt.String(), r.kill.checker, r.kill.after()
		case r.mutant.equivalent != "":
			row[3] = "none (equivalent)"
		}
		row[6] = fmt.Sprintf("%.2f", r.spent.Seconds())
		rows = append(rows, row)
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
	}
	fmt.Fprintln(c.out)
	for _, row := range slices.Insert(rows, 1, rule) {
		for i, cell := range row {
			fmt.Fprintf(c.out, "| %s%s ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(c.out, "|")
	}
}

// verdict prints the sums. The error names the survivors that nobody has argued away.
func (c *campaign) verdict() error {
	var spent []time.Duration
	var survivors []string
	killed := map[string]bool{}
	for _, r := range c.results {
		switch {
		case r.kill != nil:
			killed[r.mutant.name] = true
			spent = append(spent, r.spent)
		case r.mutant.equivalent != "":
			fmt.Fprintf(c.out, "\n%s cannot be noticed: %s\n", r.mutant.name, r.mutant.equivalent)
		default:
			survivors = append(survivors, r.mutant.name)
		}
	}
	if len(spent) > 0 {
		slices.Sort(spent)
		fmt.Fprintf(c.out, "\n%d killed, half of them within %.2f s of processor time, all within %.1f s; "+
			"%d controls silent\n", len(killed), spent[len(spent)/2].Seconds(), spent[len(spent)-1].Seconds(), c.silent)
	}
	if len(survivors) > 0 {
		return fmt.Errorf("no checker noticed: %s", strings.Join(survivors, ", "))
	}
	return nil
}
