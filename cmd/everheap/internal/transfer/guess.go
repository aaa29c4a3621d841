package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/token"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// guessRows is the number of rows that a guess reads.
const guessRows = 100

// Guess returns a type for a collection that could hold the rows of a source, in Go syntax for
// Space.Create; "" if the rows give no hint. The user can correct it.
func Guess(in io.Reader, shape Shape) string {
	src := newSource(in)
	var key, value *guess
	if shape.Format == CSV {
		key, value = guessCSV(src, &shape)
	} else {
		key, value = guessJSON(src, &shape)
	}
	if value == nil {
		return ""
	}
	d := declarations{}
	var spec string
	if key == nil {
		spec = "[]" + d.text(value, "Row")
	} else {
		spec = "map[" + d.text(key, "Key") + "]" + d.text(value, "Row")
	}
	if d.failed {
		return ""
	}
	for _, t := range d.list {
		spec += "; " + t
	}
	return spec
}

// guess is the guessed type of a value.
type guess struct {
	kind   string // "", null, bool, int, float64, string, time.Time, slice, struct, any
	null   bool
	elem   *guess
	fields []string
	types  map[string]*guess
}

// see adds a value.
func (g *guess) see(v any) {
	kind := ""
	switch v := v.(type) {
	case nil:
		g.null = true
		return
	case bool:
		kind = "bool"
	case json.Number:
		kind = "float64"
		if _, err := v.Int64(); err == nil {
			kind = "int"
		}
	case string:
		kind = "string"
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			kind = "time.Time"
		}
	}
	g.merge(kind)
}

// merge adds a kind.
func (g *guess) merge(kind string) {
	both := [2]string{g.kind, kind}
	switch {
	case g.kind == "" || g.kind == kind:
		g.kind = kind
	case both == [2]string{"int", "float64"} || both == [2]string{"float64", "int"}:
		g.kind = "float64"
	case both == [2]string{"time.Time", "string"} || both == [2]string{"string", "time.Time"}:
		g.kind = "string"
	default:
		g.kind = "any"
	}
}

// seeText adds a piece of JSON, with the members of an object in their order.
func (g *guess) seeText(text []byte) {
	list, err := rawjson.Members(text, nil)
	if err != nil && text[0] == '[' {
		g.seeElements(text[1:])
		return
	}
	if err != nil {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			g.see(v)
		}
		return
	}
	g.merge("struct")
	for _, m := range list {
		g.field(m.Name).seeText(m.Value)
	}
}

// seeElements adds the elements of an array, after its opening bracket.
func (g *guess) seeElements(text []byte) {
	g.merge("slice")
	if g.elem == nil {
		g.elem = &guess{}
	}
	for text = rawjson.Space(text); ; text = rawjson.Space(text[1:]) {
		n := rawjson.Span(text)
		if n == 0 {
			return
		}
		g.elem.seeText(text[:n])
		if text = rawjson.Space(text[n:]); len(text) == 0 || text[0] != ',' {
			return
		}
	}
}

// field returns the guess of a field.
func (g *guess) field(name string) *guess {
	if g.types == nil {
		g.types = map[string]*guess{}
	}
	f := g.types[name]
	if f == nil {
		f = &guess{}
		g.types[name], g.fields = f, append(g.fields, name)
	}
	return f
}

// guessJSON reads JSON lines.
func guessJSON(src *source, shape *Shape) (key, value *guess) {
	for range guessRows {
		text, err := src.next(nil)
		if err != nil {
			break
		}
		if text = rawjson.Space(text); len(text) == 0 {
			continue
		}
		if value == nil {
			value = &guess{}
		}
		if shape.Bare {
			value.seeText(text)
			continue
		}
		list, err := rawjson.Members(text, nil)
		if err != nil {
			continue
		}
		for _, m := range list {
			isKey := shape.Key == "" && m.Name == "key" || shape.Key != "" && m.Name == shape.Key
			if isKey {
				if key == nil {
					key = &guess{}
				}
				key.seeText(m.Value)
			}
			switch {
			case shape.Key != "":
				value.merge("struct")
				value.field(m.Name).seeText(m.Value)
			case m.Name == "value":
				value.seeText(m.Value)
			}
		}
	}
	return key, value
}

// guessCSV reads a CSV.
func guessCSV(src *source, shape *Shape) (key, value *guess) {
	names := shape.Columns
	for i := 0; i < guessRows; i++ {
		text, bad, err := src.record(nil, shape.delimiter())
		if err != nil {
			break
		}
		row, _, err := cells(text, shape.delimiter(), nil, nil)
		if bad != nil || err != nil {
			continue
		}
		if names == nil {
			for _, cell := range row {
				names = append(names, string(cell))
			}
			continue
		}
		if value == nil {
			value = &guess{kind: "struct"}
		}
		for i, cell := range row[:min(len(row), len(names))] {
			isKey := shape.Key == "" && (names[i] == keyColumn || names[i] == "$"+keyColumn) || shape.Key != "" && names[i] == shape.Key
			g := value
			switch {
			case isKey:
				if key == nil {
					key = &guess{}
				}
				g = key
			case len(names) <= 2 && names[i] == valueColumn:
			default:
				g = value.field(names[i])
			}
			seeCell(g, cell)
		}
	}
	if value != nil && len(value.fields) == 0 && value.kind == "struct" {
		value = nil
	}
	return key, value
}

// seeCell adds a cell.
func seeCell(g *guess, cell []byte) {
	if g.kind == "struct" && len(g.fields) == 0 {
		g.kind = ""
	}
	if len(cell) == 0 {
		return
	}
	var v any = string(cell)
	d := json.NewDecoder(bytes.NewReader(cell))
	d.UseNumber()
	var parsed any
	if err := d.Decode(&parsed); err == nil && !d.More() && parsed != nil {
		if _, text := parsed.(string); !text {
			v = parsed
		}
	}
	switch v.(type) {
	case map[string]any, []any:
		g.seeText(cell)
	default:
		g.see(v)
	}
}

// declarations are the types that a type names.
type declarations struct {
	list   []string
	failed bool
}

// text returns a type in Go syntax.
func (d *declarations) text(g *guess, name string) string {
	switch g.kind {
	case "", "any":
		if g.kind == "any" {
			d.failed = true
		}
		if g.null {
			return "*string"
		}
		return "string"
	case "slice":
		return "[]" + d.text(g.elem, name)
	case "struct":
		i := len(d.list)
		d.list = append(d.list, "")
		var fields []string
		for _, f := range g.fields {
			id := identifier(f)
			if id == "" {
				d.failed = true
				continue
			}
			fields = append(fields, fmt.Sprintf("%s %s", id, d.text(g.types[f], name+strings.TrimLeft(id, "_"))))
		}
		d.list[i] = "type " + name + " struct { " + strings.Join(fields, "; ") + " }"
		if g.null {
			return "*" + name
		}
		return name
	}
	if g.null {
		return "*" + g.kind
	}
	return g.kind
}

// identifier returns a name as the name of a Go field: unchanged, or FirstName for first_name.
func identifier(name string) string {
	if token.IsIdentifier(name) {
		return name
	}
	var b strings.Builder
	up := true
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			up = true
			continue
		case up:
			r, up = unicode.ToUpper(r), false
		}
		b.WriteRune(r)
	}
	if !token.IsIdentifier(b.String()) {
		return ""
	}
	return b.String()
}
