package shell

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/query"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// printer writes rows.
type printer interface {
	row(r query.Row) error
	end() error
}

// jsonRows writes lines of JSON.
type jsonRows struct {
	w    io.Writer
	show []*query.Path
	keys bool // the rows have keys
	only bool // print the keys alone
}

// row implements printer.
func (p *jsonRows) row(r query.Row) error {
	b := []byte{}
	switch {
	case p.only:
		b = append(b, r.Key...)
	case p.show != nil:
		b = append(b, '{')
		for i, path := range p.show {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, rawjson.String(path.Text)...), ':')
			v := path.Value(r.Key, r.Value)
			if v == nil {
				v = []byte("null")
			}
			b = append(b, v...)
		}
		b = append(b, '}')
	case p.keys:
		b = append(append(append(append(append(b, `{"key":`...), r.Key...), `,"value":`...), r.Value...), '}')
	default:
		b = append(b, r.Value...)
	}
	_, err := p.w.Write(append(b, '\n'))
	return err
}

// end implements printer.
func (p *jsonRows) end() error { return nil }

// table writes aligned columns. The first rows determine their widths.
type table struct {
	w       io.Writer
	width   int // of the terminal; 0: no limit
	columns []tableColumn
	rows    [][]string
	begun   bool
	strong  func(string) string
}

// tableColumn is a column.
type tableColumn struct {
	name  string
	path  *query.Path // nil for a field
	field string      // of the value; "" for the key or the whole value
	key   bool
	right bool
	width int
}

// firstRows is the number of rows that determine the widths of columns.
const firstRows = 200

// newTable returns a table of the entries of a collection.
func newTable(w io.Writer, width int, c *everheap.Collection, q *query.Query, keysOnly bool) *table {
	t := &table{w: w, width: width}
	for _, p := range q.Show {
		t.columns = append(t.columns, tableColumn{name: p.Text, path: p, right: p.Numeric()})
	}
	if len(t.columns) > 0 {
		return t
	}
	if k := c.KeyInfo(); k != nil {
		t.columns = append(t.columns, tableColumn{name: "key", key: true, right: numeric(k)})
	}
	v := c.ValueInfo()
	switch {
	case keysOnly:
	case v.Kind == "struct" && len(v.Fields) > 0:
		for _, f := range v.Fields {
			t.columns = append(t.columns, tableColumn{name: f.Name, field: f.Name, right: numeric(f.Type)})
		}
	default:
		t.columns = append(t.columns, tableColumn{name: "value", right: numeric(v)})
	}
	return t
}

// numeric reports whether values of a type are numbers.
func numeric(t *everheap.TypeInfo) bool {
	return strings.HasPrefix(t.Kind, "int") || strings.HasPrefix(t.Kind, "uint") || strings.HasPrefix(t.Kind, "float")
}

// row implements printer.
func (t *table) row(r query.Row) error {
	var fields []rawjson.Member
	cells := make([]string, len(t.columns))
	for i, c := range t.columns {
		var v []byte
		switch {
		case c.path != nil:
			v = c.path.Value(r.Key, r.Value)
		case c.key:
			v = r.Key
		case c.field == "":
			v = r.Value
		default:
			if fields == nil {
				fields = fieldsOf(r.Value)
			}
			for _, m := range fields {
				if m.Name == c.field {
					v = m.Value
				}
			}
		}
		cells[i] = cell(v)
	}
	if t.begun {
		return t.line(cells)
	}
	if t.rows = append(t.rows, cells); len(t.rows) == firstRows {
		return t.begin()
	}
	return nil
}

// fieldsOf returns the fields of a value, even if the value is shared with a part of itself.
func fieldsOf(value []byte) []rawjson.Member {
	list, err := rawjson.Members(value, nil)
	if err == nil && len(list) > 0 && list[len(list)-1].Name == "$value" {
		list, err = rawjson.Members(list[len(list)-1].Value, nil)
	}
	if err != nil {
		return []rawjson.Member{}
	}
	return list
}

// cell returns a value for a cell of the table: a text without quotes, on one line.
func cell(v []byte) string {
	if string(v) == "null" {
		return ""
	}
	s, ok := rawjson.Plain(v)
	if !ok {
		s = string(v)
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) && utf8.ValidString(s) {
		return s
	}
	q := fmt.Sprintf("%q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// end implements printer.
func (t *table) end() error {
	if t.begun || len(t.rows) == 0 {
		return nil
	}
	return t.begin()
}

// begin writes the header and the first rows.
func (t *table) begin() error {
	t.begun = true
	header := make([]string, len(t.columns))
	for i := range t.columns {
		c := &t.columns[i]
		header[i] = c.name
		c.width = utf8.RuneCountInString(c.name)
		for _, row := range t.rows {
			c.width = max(c.width, utf8.RuneCountInString(row[i]))
		}
	}
	t.fit()
	if err := t.header(header); err != nil {
		return err
	}
	for _, row := range t.rows {
		if err := t.line(row); err != nil {
			return err
		}
	}
	t.rows = nil
	return nil
}

// narrowest is the minimum width of a column.
const narrowest = 6

// fit makes the widest columns narrower until a row fits the terminal.
func (t *table) fit() {
	if t.width == 0 {
		return
	}
	for {
		total, widest := -2, -1
		for i, c := range t.columns {
			total += c.width + 2
			if widest < 0 || c.width > t.columns[widest].width {
				widest = i
			}
		}
		if total <= t.width || t.columns[widest].width <= narrowest {
			return
		}
		t.columns[widest].width--
	}
}

// header writes the names of the columns.
func (t *table) header(cells []string) error {
	text := t.text(cells)
	if t.strong != nil {
		text = t.strong(text)
	}
	_, err := fmt.Fprintln(t.w, text)
	return err
}

// line writes a row.
func (t *table) line(cells []string) error {
	_, err := fmt.Fprintln(t.w, t.text(cells))
	return err
}

// text aligns the cells of a row, and cuts long ones.
func (t *table) text(cells []string) string {
	var b strings.Builder
	for i, s := range cells {
		c := t.columns[i]
		n := utf8.RuneCountInString(s)
		if n > c.width && (t.width > 0 || i < len(cells)-1) {
			s = string([]rune(s)[:max(c.width-1, 0)]) + "…"
			n = c.width
		}
		pad := strings.Repeat(" ", max(c.width-n, 0))
		if i > 0 {
			b.WriteString("  ")
		}
		if c.right {
			b.WriteString(pad + s)
		} else {
			b.WriteString(s + pad)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// indented returns JSON on several lines.
func indented(value []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil {
		return value
	}
	return b.Bytes()
}
