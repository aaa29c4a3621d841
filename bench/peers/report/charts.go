package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Chart is a chart of one operation: a bar for each engine, the best one on top, ours in
// another colour, with the range of the rounds.
type Chart struct {
	Name  string
	title string
	axis  string
	bars  []bar
	line  float64 // a value to mark, if not 0
	mark  string  // what it is
}

// bar is one engine.
type bar struct {
	engine   string
	value    float64
	low, top float64
	label    string
}

// chartSpec selects the data of a chart.
type chartSpec struct {
	name, title, workload, op string
}

var charts = []chartSpec{
	{"read-copy", "Read one record as a copy, a transaction each: time", "points", "get"},
	{"read-in-place", "Read one record in place, 1,000 in one transaction: time of each", "points", "in-place-tx1000"},
	{"write-one", "Replace one record, a transaction each: time", "points", "put1"},
	{"durable-1", "Durable commits, 1 writer", "durable", "durable-1"},
	{"durable-16", "Durable commits, 16 writers", "durable", "durable-16"},
	{"restart", "Process start to first read, after SIGKILL: time", "restart", "after-kill"},
	{"processes", "Reads of 3 processes while a fourth one writes", "processes", "read-of-4"},
	{"ycsb-a", "YCSB A: half reads, half updates, 2 goroutines", "ycsb", "A"},
	{"ycsb-e", "YCSB E: scans of up to 100 records, 5 % inserts", "ycsb", "E"},
	{"forum-async", "Day of a forum, a process may be killed: operations", "forum", "day/async"},
	{"forum-sync", "Day of a forum, power may be lost: operations", "forum", "day/sync"},
	{"reader", "Growth of the files for each update while a reader holds its version", "reader", "grows-held"},
	{"graph", "Traversal of a graph of references: time of each part", "graph", "traverse"},
	{"memory", "Random reads of data larger than memory", "memory", "get"},
}

// Charts makes the charts of the measured operations.
func (r *Run) Charts() (list []Chart) {
	for _, spec := range charts {
		c := Chart{Name: spec.name, title: spec.title}
		for _, e := range r.ranked(spec.workload, spec.op) {
			s := r.get(spec.workload, spec.op, e)
			v := s.values()
			label, _, _ := strings.Cut(s.text(), " [")
			c.bars = append(c.bars, bar{e, s.median(), v[0], v[len(v)-1], label})
			c.axis = s.unit
		}
		unit := c.axis
		slices.SortStableFunc(c.bars, func(a, b bar) int { return compareValues(unit, a.value, b.value) })
		if len(c.bars) == 0 {
			continue
		}
		if c.axis == "/s" {
			c.axis = "operations a second; more is better"
		} else {
			c.axis += "; less is better"
		}
		if spec.workload == "durable" {
			if raw := r.get("raw", "write-and-sync-4k", "disk"); raw != nil {
				c.line, c.mark = raw.median(), "the bare disk"
			}
		}
		list = append(list, c)
	}
	return list
}

var (
	ours   = color.RGBA{R: 0xd9, G: 0x5f, B: 0x02, A: 0xff} // orange
	memory = color.RGBA{R: 0x9a, G: 0xb8, B: 0xd3, A: 0xff} // light blue
	others = color.RGBA{R: 0x4c, G: 0x72, B: 0x9e, A: 0xff} // blue
	ink    = color.RGBA{R: 0x22, G: 0x22, B: 0x22, A: 0xff}
	grey   = color.RGBA{R: 0x77, G: 0x77, B: 0x77, A: 0xff}
)

// crowded is how many times the longest bar may exceed the shortest one before the axis
// becomes logarithmic.
const crowded = 60

// Save draws the chart into an SVG file, on a background of its own, so that it can be read
// on dark pages too.
func (c Chart) Save(path string) error {
	p := plot.New()
	p.BackgroundColor = color.White
	b := &barPlot{title: c.title, bars: c.bars, line: c.line}
	b.bounds()
	if b.logarithmic {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
		c.axis += "; logarithmic"
	} else {
		p.X.Tick.Marker = grouped{}
	}
	if c.line > 0 {
		c.axis += "; dashed: " + c.mark
	}
	p.X.Label.Text = c.axis
	p.X.Label.TextStyle.Font = sans(10)
	p.X.Label.TextStyle.Color = grey
	p.X.Tick.Label.Font = sans(9)
	p.X.Tick.Label.Color = grey
	p.X.Color, p.X.Tick.Color = grey, grey
	p.HideY()
	p.Add(b)
	width, height := 18*vg.Centimeter, vg.Length(len(c.bars))*vg.Points(21)+vg.Points(76)
	canvas := vgsvg.New(width, height)
	whole := draw.New(canvas)
	whole.FillPolygon(color.White, []vg.Point{{}, {X: width}, {X: width, Y: height}, {Y: height}})
	p.Draw(draw.Crop(whole, names, -vg.Points(12), vg.Points(6), -vg.Points(26)))
	var file bytes.Buffer
	if _, err := canvas.WriteTo(&file); err != nil {
		return err
	}
	// Fonts of the same widths that other systems have.
	svg := strings.ReplaceAll(file.String(), "font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif")
	return os.WriteFile(path, []byte(svg), 0o644)
}

// names is the width that the names of engines have, left of the bars.
const names = vg.Length(112)

// sans is the font of all texts, in a size.
func sans(size vg.Length) font.Font {
	f := font.From(plot.DefaultFont, size)
	f.Variant = "Sans"
	return f
}

// barPlot draws horizontal bars, the first one on top.
type barPlot struct {
	title       string
	bars        []bar
	line        float64
	logarithmic bool
	from, to    float64
}

// bounds finds the range of the axis. There is room for labels behind the bars.
func (b *barPlot) bounds() {
	least, most := math.Inf(1), b.line
	for _, x := range b.bars {
		least, most = min(least, x.low), max(most, x.top)
	}
	if b.logarithmic = least > 0 && most > crowded*least; b.logarithmic {
		b.from = math.Pow(10, math.Floor(math.Log10(least/2)))
		b.to = most * math.Pow(most/b.from, 0.22)
		return
	}
	b.to = most * 1.22
}

// DataRange implements plot.DataRanger.
func (b *barPlot) DataRange() (xmin, xmax, ymin, ymax float64) {
	return b.from, b.to, -0.6, float64(len(b.bars)) - 0.4
}

// Plot implements plot.Plotter.
func (b *barPlot) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := text.Style{Font: sans(13), Color: ink, XAlign: text.XLeft, YAlign: text.YCenter, Handler: plot.DefaultTextHandler}
	style.Font.Weight = 2
	c.FillText(style, vg.Point{X: c.Min.X - names + vg.Points(10), Y: c.Max.Y + vg.Points(10)}, b.title)
	style.Font = sans(10)
	for i, v := range b.bars {
		middle, half := y(float64(len(b.bars)-1-i)), vg.Points(6.5)
		c.FillText(style, vg.Point{X: c.Min.X - names + vg.Points(10), Y: middle}, v.engine)
		c.FillPolygon(colour(v.engine), []vg.Point{{X: x(b.from), Y: middle - half}, {X: x(v.value), Y: middle - half}, {X: x(v.value), Y: middle + half}, {X: x(b.from), Y: middle + half}})
		end := x(v.value)
		if v.top > v.low {
			c.StrokeLine2(draw.LineStyle{Color: ink, Width: vg.Points(0.8)}, x(max(v.low, b.from)), middle, x(v.top), middle)
			end = max(end, x(v.top))
		}
		c.FillText(style, vg.Point{X: end + vg.Points(4), Y: middle}, v.label)
	}
	if b.line > 0 {
		at := x(b.line)
		c.StrokeLine2(draw.LineStyle{Color: grey, Width: vg.Points(1), Dashes: []vg.Length{vg.Points(4), vg.Points(3)}}, at, c.Min.Y, at, c.Max.Y)
	}
}

// colour tells Everheap, stores, and Go's memory apart.
func colour(engine string) color.Color {
	switch {
	case isOurs(engine):
		return ours
	case isMemory(engine):
		return memory
	}
	return others
}

// grouped formats the marks of an axis as the tables do.
type grouped struct{}

// Ticks implements plot.Ticker.
func (grouped) Ticks(from, to float64) (ticks []plot.Tick) {
	for _, t := range (plot.DefaultTicks{}).Ticks(from, to) {
		if t.Label != "" {
			t.Label = strings.TrimSuffix(strings.TrimSuffix(number(t.Value), ".00"), ".0")
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// decades marks the powers of ten of a logarithmic axis.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(from, to float64) (ticks []plot.Tick) {
	for v := math.Pow(10, math.Ceil(math.Log10(from)-1e-9)); v <= to; v *= 10 {
		label := number(v)
		if v < 1 {
			label = fmt.Sprintf("%g", v)
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: strings.TrimSuffix(strings.TrimSuffix(label, ".00"), ".0")})
	}
	return slices.Clip(ticks)
}
