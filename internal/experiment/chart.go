package experiment

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Chart is lines over two axes.
type Chart struct {
	Title  string
	X, Y   string // what the axes show, with units
	LogX   bool
	LogY   bool
	Series []Series
	Marks  []Mark
}

// Series is one line. A Y that is not a number interrupts it.
type Series struct {
	Name string
	X, Y []float64
}

// Mark is a vertical line with words.
type Mark struct {
	X    float64
	Text string
}

// Size of a chart, in units of its own, and of the margins that hold the axes.
const (
	chartWidth, chartHeight = 760.0, 360.0
	marginLeft, marginRight = 64.0, 28.0
	marginTop, marginBottom = 14.0, 48.0
	styles                  = 10
	markersMax              = 24 // a line with more points is drawn without markers
)

// scale maps values to places.
type scale struct {
	low, high float64
	log       bool
	from, to  float64
	ticks     []float64
}

func (s *scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log10(max(v, s.low)), math.Log10(s.low), math.Log10(s.high)
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// linear is a scale with ticks at round numbers.
func linear(low, high, from, to float64) scale {
	if high <= low {
		high = low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, factor := range []float64{1, 2, 2.5, 5, 10} {
		if (high-low)/(step*factor) <= 6 {
			step *= factor
			break
		}
	}
	s := scale{low: math.Floor(low/step) * step, high: math.Ceil(high/step) * step, from: from, to: to}
	for i := 0; s.low+float64(i)*step <= s.high+step/2; i++ {
		s.ticks = append(s.ticks, s.low+float64(i)*step)
	}
	return s
}

// logarithmic is a scale with ticks at 1, 2 and 5 of each power of ten, or at the powers alone if there are many.
func logarithmic(low, high, from, to float64) scale {
	low = max(low, 1e-6)
	high = max(high, low*2)
	s := scale{log: true, from: from, to: to}
	factors := []float64{1, 2, 5}
	if math.Log10(high/low) > 2.5 {
		factors = factors[:1]
	}
	var all []float64
	for power := math.Floor(math.Log10(low)); power <= math.Ceil(math.Log10(high))+1; power++ {
		for _, factor := range factors {
			all = append(all, factor*math.Pow(10, power))
		}
	}
	first, last := 0, len(all)-1
	for first+1 < len(all) && all[first+1] <= low {
		first++
	}
	for last > first+1 && all[last-1] >= high {
		last--
	}
	s.ticks = all[first : last+1]
	s.low, s.high = s.ticks[0], s.ticks[len(s.ticks)-1]
	return s
}

// scales of the axes, over all that is drawn.
func (c *Chart) scales() (x, y scale) {
	minX, maxX, minY, maxY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range c.Series {
		for i := range s.X {
			if !c.shows(&s, i) {
				continue
			}
			minX, maxX = min(minX, s.X[i]), max(maxX, s.X[i])
			minY, maxY = min(minY, s.Y[i]), max(maxY, s.Y[i])
		}
	}
	if minX > maxX {
		minX, maxX, minY, maxY = 0, 1, 0, 1
	}
	bottom, top := chartHeight-marginBottom, marginTop
	if c.LogY {
		y = logarithmic(minY, maxY, bottom, top)
	} else {
		y = linear(min(minY, 0), maxY, bottom, top)
	}
	if c.LogX {
		return logarithmic(minX, maxX, marginLeft, chartWidth-marginRight), y
	}
	return linear(minX, maxX, marginLeft, chartWidth-marginRight), y
}

// shows reports whether a point can be drawn.
func (c *Chart) shows(s *Series, i int) bool {
	return !math.IsNaN(s.Y[i]) && (!c.LogY || s.Y[i] > 0) && (!c.LogX || s.X[i] > 0)
}

// classes are the styles of the lines: a family has the same in all charts, and others of it take those that are left.
func (c *Chart) classes() []int {
	classes := make([]int, len(c.Series))
	taken := map[int]bool{}
	left := len(Families())
	for i := range c.Series {
		family, _, _ := strings.Cut(strings.SplitN(c.Series[i].Name, "-", 2)[0], "@")
		class := slices.Index(Families(), family)
		if class < 0 || taken[class] {
			class = left % styles
			left++
		}
		classes[i], taken[class] = class, true
	}
	return classes
}

// SVG draws the chart. Colours come from the page's style.
func (c *Chart) SVG() string {
	var b strings.Builder
	x, y := c.scales()
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight,
		html.EscapeString(c.Title+": "+c.Y+" over "+c.X))
	b.WriteString("\n")
	for _, v := range y.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, marginLeft,
			chartWidth-marginRight, y.at(v), y.at(v))
		fmt.Fprintf(&b, `<text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, marginLeft-8, y.at(v)+4, short(v))
	}
	for _, v := range x.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/>`, x.at(v), x.at(v), marginTop,
			chartHeight-marginBottom)
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>`, x.at(v),
			chartHeight-marginBottom+18, short(v))
	}
	fmt.Fprintf(&b, "\n"+`<text class="axis" x="%g" y="%g" text-anchor="middle">%s</text>`,
		(marginLeft+chartWidth-marginRight)/2, chartHeight-8, html.EscapeString(c.X))
	middle := (marginTop + chartHeight - marginBottom) / 2
	fmt.Fprintf(&b, `<text class="axis" x="14" y="%g" text-anchor="middle" transform="rotate(-90 14 %g)">%s</text>`+"\n",
		middle, middle, html.EscapeString(c.Y))
	for _, m := range c.Marks {
		fmt.Fprintf(&b, `<line class="mark" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/>`, x.at(m.X), x.at(m.X), marginTop,
			chartHeight-marginBottom)
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g">%s</text>`+"\n", x.at(m.X)+5, marginTop+12,
			html.EscapeString(m.Text))
	}
	for i := range c.Series {
		c.line(&b, i, &x, &y)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// line draws one series.
func (c *Chart) line(b *strings.Builder, index int, x, y *scale) {
	s := &c.Series[index]
	class := c.classes()[index]
	var path strings.Builder
	drawing := false
	for i := range s.X {
		if !c.shows(s, i) {
			drawing = false
			continue
		}
		command := "M"
		if drawing {
			command = "L"
		}
		drawing = true
		fmt.Fprintf(&path, "%s%.1f %.1f", command, x.at(s.X[i]), y.at(s.Y[i]))
	}
	fmt.Fprintf(b, `<path class="line s%d" d="%s"><title>%s</title></path>`, class, path.String(),
		html.EscapeString(s.Name))
	if len(s.X) <= markersMax {
		for i := range s.X {
			if c.shows(s, i) {
				fmt.Fprintf(b, `<circle class="dot s%d" cx="%.1f" cy="%.1f" r="3.2"><title>%s: %s at %s</title></circle>`,
					class, x.at(s.X[i]), y.at(s.Y[i]), html.EscapeString(s.Name), short(s.Y[i]), short(s.X[i]))
			}
		}
	}
	b.WriteString("\n")
}

// legend names the lines.
func (c *Chart) legend() string {
	var b strings.Builder
	classes := c.classes()
	b.WriteString(`<ul class="legend">`)
	for i := range c.Series {
		fmt.Fprintf(&b, `<li><svg viewBox="0 0 28 10" aria-hidden="true"><path class="line s%d" d="M1 5L27 5"/></svg>%s</li>`,
			classes[i], html.EscapeString(c.Series[i].Name))
	}
	b.WriteString("</ul>\n")
	return b.String()
}

// short writes a number without superfluous digits.
func short(v float64) string {
	if math.Abs(v) < 1e-9 {
		return "0"
	}
	digits := int(math.Floor(math.Log10(math.Abs(v)))) + 1
	text := strconv.FormatFloat(v, 'f', max(4-digits, 0), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
