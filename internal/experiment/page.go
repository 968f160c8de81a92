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
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n<h1>%s</h1>\n", title, style, title)
	for _, p := range r.Intro {
		fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(p))
	}
	for i := range r.Sections {
		r.Sections[i].html(&b)
	}
	b.WriteString("</body>\n</html>\n")
	return b.String()
}

func (s *Section) html(b *strings.Builder) {
	fmt.Fprintf(b, "<section>\n<h2>%s</h2>\n", html.EscapeString(s.Title))
	if s.Chart != nil {
		fmt.Fprintf(b, "<figure>\n%s%s</figure>\n", s.Chart.SVG(), s.Chart.legend())
	}
	if s.Note != "" {
		fmt.Fprintf(b, "<p class=\"note\">%s</p>\n", html.EscapeString(s.Note))
	}
	if s.Quiet {
		b.WriteString("<details><summary>The numbers</summary>\n")
	}
	s.Table.html(b)
	if s.Quiet {
		b.WriteString("</details>\n")
	}
	b.WriteString("</section>\n")
}

// wordy is the length from which a cell is text to be wrapped.
const wordy = 26

func (t *Table) html(b *strings.Builder) {
	long := make([]bool, len(t.Header))
	for _, row := range t.Rows {
		for i, text := range row {
			long[i] = long[i] || i > 0 && len([]rune(text)) > wordy
		}
	}
	line := func(tag string, cells []string) {
		b.WriteString("<tr>")
		for i, text := range cells {
			class := ""
			if long[i] {
				class = ` class="words"`
			}
			fmt.Fprintf(b, "<%s%s>%s</%s>", tag, class, html.EscapeString(text), tag)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("<div class=\"table\"><table>\n<thead>")
	line("th", t.Header)
	b.WriteString("</thead>\n<tbody>\n")
	for _, row := range t.Rows {
		line("td", row)
	}
	b.WriteString("</tbody>\n</table></div>\n")
}
