package experiment

import (
	"fmt"
	"html"
	"strings"
)

// style is the whole appearance of a page. Lines differ in dashes too, for those who see colours alike.
const style = `
:root { --back:#fff; --text:#1c2430; --soft:#5b6675; --rule:#dfe4ea; --panel:#f6f8fa;
 --c0:#0b62c4; --c1:#d1495b; --c2:#1b8a5a; --c3:#b7791f; --c4:#7b3fb5; --c5:#0e8fa3; --c6:#8a4b2a; --c7:#4b5563; --c8:#c2378f; --c9:#6b7f1a; }
@media (prefers-color-scheme: dark) { :root { --back:#11161d; --text:#e3e8ef; --soft:#9aa6b5; --rule:#2a3340; --panel:#18202a;
 --c0:#6cb2ff; --c1:#ff8a97; --c2:#5fd6a0; --c3:#f0b95a; --c4:#c39bf5; --c5:#5cd3e6; --c6:#d99f7c; --c7:#b3bdca; --c8:#f58ad0; --c9:#bcd15a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--text);
 font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .5rem; }
p { margin: .4rem 0; } .note { color: var(--soft); font-size: .88rem; }
figure { margin: .6rem 0; padding: .9rem; background: var(--panel); border: 1px solid var(--rule); border-radius: 8px; }
figure > svg { display: block; width: 100%; height: auto; }
.grid { stroke: var(--rule); stroke-width: 1; } .mark { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 3 3; }
.tick { fill: var(--soft); font-size: 12px; } .axis { fill: var(--text); font-size: 13px; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; } .dot { fill: currentColor; }
.s0{color:var(--c0)} .s1{color:var(--c1)} .s2{color:var(--c2)} .s3{color:var(--c3)} .s4{color:var(--c4)}
.s5{color:var(--c5)} .s6{color:var(--c6)} .s7{color:var(--c7)} .s8{color:var(--c8)} .s9{color:var(--c9)}
.line.s1{stroke-dasharray:7 3} .line.s2{stroke-dasharray:2 2.5} .line.s3{stroke-dasharray:9 3 2 3} .line.s5{stroke-dasharray:5 2}
.line.s6{stroke-dasharray:12 3} .line.s7{stroke-dasharray:3 3} .line.s8{stroke-dasharray:8 2 2 2 2 2} .line.s9{stroke-dasharray:1 3}
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: .6rem 0 0; padding: 0; font-size: .88rem; }
.legend svg { width: 28px; height: 10px; margin-right: .4rem; vertical-align: middle; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .86rem; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
td.words, th.words { text-align: left; white-space: normal; min-width: 9rem; }
tbody tr:hover { background: var(--panel); } details > summary { cursor: pointer; color: var(--soft); font-size: .88rem; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
`

// HTML is the report as one page without anything outside it.
func (r *Report) HTML() string {
	var b strings.Builder
	title := html.EscapeString(r.Title)
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"+
		"<meta name=\"color-scheme\" content=\"light dark\">\n<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n<h1>%s</h1>\n",
		title, style, title)
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
