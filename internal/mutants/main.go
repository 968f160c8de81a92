package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// options are the flags.
type options struct {
	match   *regexp.Regexp
	short   bool
	every   bool
	verbose bool
	budget  time.Duration
}

func main() {
	o := options{}
	pattern := flag.String("run", "", "only mutants whose name matches this regular expression")
	flag.BoolVar(&o.short, "short", false, "only the few that are marked short")
	flag.BoolVar(&o.every, "every", false, "let all hunters of a mutant look, also after a kill, and list each")
	flag.BoolVar(&o.verbose, "v", false, "tell what each checker said")
	flag.DurationVar(&o.budget, "budget", time.Minute, "the processor time that one hunt may take")
	flag.Parse()
	if err := run(o, *pattern); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(o options, pattern string) (err error) {
	if o.match, err = regexp.Compile(pattern); err != nil {
		return fmt.Errorf("read -run: %w", err)
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	all, err := readCatalogue(filepath.Join(root, "internal", "mutants", "catalogue"))
	if err != nil {
		return err
	}
	c := campaign{options: o, root: root, out: os.Stdout}
	for _, m := range all {
		if o.match.MatchString(m.name) && (m.short || !o.short) {
			if err := c.try(m); err != nil {
				return err
			}
		}
	}
	if err := c.control(); err != nil {
		return err
	}
	c.table()
	return c.verdict()
}

// moduleRoot is the nearest folder above with a go.mod.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("no go.mod here or above: run inside the module")
		}
		folder = parent
	}
}
