package transfer

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// target is the collection of the rows, and the way to read their text.
type target struct {
	c       *everheap.Collection
	json    everheap.Encoded
	structs bool // values are structs
	shape   *Shape
	columns []column // of a CSV
}

// newTarget returns a target for a collection.
func newTarget(c *everheap.Collection, shape *Shape) *target {
	return &target{c: c, json: c.As(everheap.JSON), structs: c.ValueInfo().Kind == "struct", shape: shape}
}

// reader reads rows; each goroutine has its own.
type reader struct {
	row   [][]byte
	buf   []byte
	list  []rawjson.Member
	names []string // members of the last bare object, with their columns below
	known []column
}

// parse reads the text of a row.
func (r *reader) parse(t *target, text []byte) (everheap.Entry, error) {
	if t.shape.Format == CSV {
		return r.parseCSV(t, text)
	}
	if t.shape.Bare || t.shape.Key != "" {
		return r.parseBare(t, text)
	}
	list, err := rawjson.Members(text, r.list)
	if err != nil {
		return everheap.Entry{}, err
	}
	r.list = list
	var key, value []byte
	for _, m := range list {
		switch m.Name {
		case "key":
			key = m.Value
		case "value":
			value = m.Value
		case "collection":
			return everheap.Entry{}, errors.New("this is the export of a whole space: import it without the name of a collection")
		default:
			return everheap.Entry{}, fmt.Errorf("a row is {\"key\":…,\"value\":…}, and has no %q; if the line is the value itself: --bare, or --key FIELD for one of its fields", m.Name)
		}
	}
	if value == nil {
		return everheap.Entry{}, errors.New(`the row has no "value"; if the line is the value itself: --bare, or --key FIELD for one of its fields`)
	}
	if hasKeys(t.c) && key == nil {
		return everheap.Entry{}, errors.New(`the row has no "key"`)
	}
	if t.c.Kind() == singleValue {
		key = nil
	}
	return t.json.Parse(key, value)
}

// parseBare reads a value, or an object one of whose members is the key.
func (r *reader) parseBare(t *target, text []byte) (everheap.Entry, error) {
	if !hasKeys(t.c) {
		return t.json.Parse(nil, text)
	}
	if t.shape.Key == "" {
		return everheap.Entry{}, fmt.Errorf("the rows of %s need keys: give --key FIELD", t.c.Name())
	}
	list, err := rawjson.Members(text, r.list)
	if err != nil {
		return everheap.Entry{}, err
	}
	r.list = list
	same := len(r.names) == len(list)
	for i := 0; same && i < len(list); i++ {
		same = r.names[i] == list[i].Name
	}
	if !same {
		names := make([]string, len(list))
		for i, m := range list {
			names[i] = m.Name
		}
		if r.known, err = t.shape.match(t.c, names); err != nil {
			return everheap.Entry{}, err
		}
		r.names = names
	}
	b := building{whole: !t.structs}
	for i, col := range r.known {
		b.put(col, list[i].Value, list[i].Value)
	}
	return t.json.Parse(b.key, b.text())
}

// parseCSV reads a record.
func (r *reader) parseCSV(t *target, text []byte) (everheap.Entry, error) {
	var err error
	if r.row, r.buf, err = cells(text, t.shape.delimiter(), r.row, r.buf); err != nil {
		return everheap.Entry{}, err
	}
	if len(r.row) != len(t.columns) {
		return everheap.Entry{}, tooFew(len(r.row), len(t.columns))
	}
	b := building{whole: !t.structs}
	for i, col := range t.columns {
		var key []byte
		if col.isKey {
			if key = col.key.decode(r.row[i]); key == nil {
				return everheap.Entry{}, errors.New("the key is empty")
			}
		}
		b.put(col, key, col.kind.decode(r.row[i]))
	}
	return t.json.Parse(b.key, b.text())
}

// building is a row under construction.
type building struct {
	key    []byte
	value  []byte // whole value, not made of fields
	whole  bool   // the value is never made of fields
	fields object
}

// put adds the value of a column; nil is the zero value.
func (b *building) put(col column, key, value []byte) {
	if col.isKey {
		b.key = key
	}
	switch {
	case col.skip || col.only || value == nil:
	case len(col.field) == 0:
		b.value = value
	default:
		b.fields.put(col.field, value)
	}
}

// text returns the JSON of the value.
func (b *building) text() []byte {
	switch {
	case b.value != nil:
		return b.value
	case b.whole:
		return []byte("null")
	}
	return b.fields.json()
}

// parseHeading reads the line before the rows of a collection.
func parseHeading(line []byte) (name, spec string, ok bool) {
	list, err := rawjson.Members(line, nil)
	if err != nil || len(list) != 2 || list[0].Name != "collection" || list[1].Name != "type" {
		return "", "", false
	}
	name, okName := rawjson.Plain(list[0].Value)
	spec, okType := rawjson.Plain(list[1].Value)
	return name, spec, okName && okType
}
