package experiment

import (
	_ "embed" // the style of pages
	"fmt"
	"html"
	"strings"
)

// style is the whole appearance of a page. Lines differ in dashes too, for those who see colours alike.
//
//go:embed page.css
var style string

// HTML is the report as one page without anything outside it.
func (r *Report) HTML() string {
	var b strings.Builder
	title := html.EscapeString(r.Title)
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
		"<meta name=\"color-scheme\" content=\"light dark\">\n")
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n<h1>%s</h1>\n", title, style, title)
	for _, p := range r.Intro {
		fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(p))
	}
	r.contents(&b)
	for i := range r.Sections {
		r.Sections[i].html(&b, i)
	}
	b.WriteString("</main>\n</body>\n</html>\n")
	return b.String()
}

// contentsFrom is the number of sections from which a page lists them.
const contentsFrom = 4

func (r *Report) contents(b *strings.Builder) {
	if len(r.Sections) < contentsFrom {
		return
	}
	b.WriteString("<nav aria-label=\"Contents\"><ul>\n")
	for i := range r.Sections {
		fmt.Fprintf(b, "<li><a href=\"#s%d\">%s</a></li>\n", i+1, html.EscapeString(r.Sections[i].Title))
	}
	b.WriteString("</ul></nav>\n")
}

func (s *Section) html(b *strings.Builder, index int) {
	title := html.EscapeString(s.Title)
	fmt.Fprintf(b, "<section aria-labelledby=\"s%d\">\n<h2 id=\"s%d\">%s</h2>\n", index+1, index+1, title)
	if s.Chart != nil {
		fmt.Fprintf(b, "<figure>\n%s%s</figure>\n", s.Chart.SVG(), s.Chart.legend())
	}
	if s.Note != "" {
		fmt.Fprintf(b, "<p class=\"note\">%s</p>\n", html.EscapeString(s.Note))
	}
	if s.Quiet {
		b.WriteString("<details><summary>The numbers</summary>\n")
	}
	s.Table.html(b, title)
	if s.Quiet {
		b.WriteString("</details>\n")
	}
	b.WriteString("</section>\n")
}

// wordy is the length from which a cell is text to be wrapped.
const wordy = 26

// html writes the table. The first cell of a row names it. One that is wider than the page can be scrolled by keyboard.
func (t *Table) html(b *strings.Builder, label string) {
	long := make([]bool, len(t.Header))
	for _, row := range t.Rows {
		for i, text := range row {
			long[i] = long[i] || i > 0 && len([]rune(text)) > wordy
		}
	}
	line := func(header bool, cells []string) {
		b.WriteString("<tr>")
		for i, text := range cells {
			tag, attributes := "td", ""
			switch {
			case header:
				tag, attributes = "th", ` scope="col"`
			case i == 0:
				tag, attributes = "th", ` scope="row"`
			}
			if long[i] {
				attributes += ` class="words"`
			}
			fmt.Fprintf(b, "<%s%s>%s</%s>", tag, attributes, html.EscapeString(text), tag)
		}
		b.WriteString("</tr>\n")
	}
	fmt.Fprintf(b, "<div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"%s\"><table>\n<thead>", label)
	line(true, t.Header)
	b.WriteString("</thead>\n<tbody>\n")
	for _, row := range t.Rows {
		line(false, row)
	}
	b.WriteString("</tbody>\n</table></div>\n")
}
