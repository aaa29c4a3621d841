package transfer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// The cell of a value is readable, and loses nothing:
//
//	number, bool          as in JSON; NaN and infinities without quotes
//	string                its bytes
//	time, []byte, netip…  as in JSON, without quotes unless that is ambiguous
//	anything else         JSON
//	an empty cell         the zero value: an empty string, nil
//
// The columns are key, if there are keys; then the fields of a struct, or value for anything
// else. A column that would have the name of another begins with a dollar sign.

// Names of columns that are not fields.
const (
	keyColumn   = "key"
	valueColumn = "value"
	// wholeColumn has whole values that cannot be split into fields, such as a struct that points at
	// itself.
	wholeColumn = "$value"
)

// cellKind is the format of a cell.
type cellKind int

const (
	asJSON cellKind = iota
	asNumber
	asString
	asText // a JSON string without its quotes
)

// kindOf returns how cells of a type are written.
func kindOf(t *everheap.TypeInfo) cellKind {
	switch t.Kind {
	case "string":
		return asString
	case "bool", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "float32", "float64":
		return asNumber
	case "time.Time", "netip.Addr", "netip.AddrPort", "netip.Prefix", "text", "binary":
		return asText
	case "slice", "array":
		if t.Elem.Kind == "uint8" {
			return asText
		}
	}
	return asJSON
}

// encode returns the cell of a value in JSON.
func (k cellKind) encode(value []byte) []byte {
	switch {
	case len(value) == 4 && string(value) == "null":
		return nil
	case k == asString:
		s, _ := rawjson.Plain(value)
		return []byte(s)
	case k == asNumber && value[0] == '"': // NaN, Infinity
		return value[1 : len(value)-1]
	case k == asText && value[0] == '"':
		s, ok := rawjson.Plain(value)
		if ok && s != "" && s != "null" && s[0] != '"' && s[0] != '{' {
			return []byte(s)
		}
	}
	return value
}

// decode is the inverse of encode: the JSON of a cell, nil for the zero value.
func (k cellKind) decode(cell []byte) []byte {
	switch {
	case k == asString:
		return rawjson.String(cell)
	case len(cell) == 0:
		return nil
	case k == asNumber && !json.Valid(cell):
		return rawjson.String(cell)
	case k == asText && cell[0] != '"' && cell[0] != '{' && string(cell) != "null":
		return rawjson.String(cell)
	}
	return cell
}

// column is a column of a CSV, or a member of a bare line of JSON.
type column struct {
	name  string
	kind  cellKind // of the field
	isKey bool
	key   cellKind // of the key
	field []string // path of the field in the value; nil for the whole value
	skip  bool
	only  bool // the column is the key, and not a field
}

// columnsOf returns the columns of a collection, in the order in which they are written.
func columnsOf(c *everheap.Collection) []column {
	var list []column
	value := c.ValueInfo()
	if hasKeys(c) {
		name := keyColumn
		if value.Kind == "struct" && fieldOf(value, keyColumn) != nil {
			name = "$" + keyColumn
		}
		list = append(list, column{name: name, key: kindOf(c.KeyInfo()), isKey: true, only: true})
	}
	if value.Kind != "struct" || len(value.Fields) == 0 {
		return append(list, column{name: valueColumn, kind: kindOf(value)})
	}
	for _, f := range value.Fields {
		list = append(list, column{name: f.Name, kind: kindOf(f.Type), field: []string{f.Name}})
	}
	if reaches(value, value, map[*everheap.TypeInfo]bool{}) {
		list = append(list, column{name: wholeColumn})
	}
	return list
}

// reaches reports whether values of a type may point at a value of another type.
func reaches(from, to *everheap.TypeInfo, seen map[*everheap.TypeInfo]bool) bool {
	next := []*everheap.TypeInfo{}
	switch from.Kind {
	case "Map", "Sorted", "List", "Ref": // a handle is a number
	default:
		next = append(next, from.Elem)
	}
	for _, f := range from.Fields {
		next = append(next, f.Type)
	}
	for _, t := range next {
		if t == to && t != nil {
			return true
		}
		if t != nil && !seen[t] {
			seen[t] = true
			if reaches(t, to, seen) {
				return true
			}
		}
	}
	return false
}

// fieldOf returns the field with a name, or nil.
func fieldOf(t *everheap.TypeInfo, name string) *everheap.FieldInfo {
	for i := range t.Fields {
		if t.Fields[i].Name == name {
			return &t.Fields[i]
		}
	}
	return nil
}

// folded returns a name without the differences of spelling: first_name and FirstName are the same.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// find returns the field of a path, which is names separated by dots.
func find(t *everheap.TypeInfo, path string) (field []string, found *everheap.TypeInfo) {
	if f := fieldOf(t, path); f != nil {
		return []string{f.Name}, f.Type
	}
	step, rest, nested := strings.Cut(path, ".")
	f := fieldOf(t, step)
	if f == nil {
		var like []*everheap.FieldInfo
		for i := range t.Fields {
			if folded(t.Fields[i].Name) == folded(step) {
				like = append(like, &t.Fields[i])
			}
		}
		if len(like) != 1 {
			return nil, nil
		}
		f = like[0]
	}
	if !nested {
		return []string{f.Name}, f.Type
	}
	if f.Type.Kind != "struct" {
		return nil, nil
	}
	field, found = find(f.Type, rest)
	return append([]string{f.Name}, field...), found
}

// match finds the key and the fields of a collection that the columns of a header, or the members of
// an object, stand for.
func (s *Shape) match(c *everheap.Collection, header []string) ([]column, error) {
	own := columnsOf(c)
	list := make([]column, len(header))
	taken := map[string]string{}
	for i, name := range header {
		if slices.Contains(header[:i], name) {
			return nil, fmt.Errorf("the column %q occurs twice", name)
		}
		col, err := s.matchOne(c, own, name)
		if err != nil {
			return nil, err
		}
		for at, other := range taken {
			is := strings.Join(col.field, ".")
			if is != "" && (strings.HasPrefix(at+".", is+".") || strings.HasPrefix(is+".", at+".")) {
				return nil, fmt.Errorf("the columns %q and %q are both the field %s; leave one out: --map %s=-", other, name, min(at, is), name)
			}
		}
		if len(col.field) > 0 && !col.skip {
			taken[strings.Join(col.field, ".")] = name
		}
		list[i] = col
	}
	if !hasKeys(c) || slices.ContainsFunc(list, func(c column) bool { return c.isKey }) {
		return list, nil
	}
	if s.Key != "" {
		return nil, fmt.Errorf("there is no column %q for the keys; there are: %s", s.Key, strings.Join(header, ", "))
	}
	return nil, fmt.Errorf("there is no column %q; which one has the keys of %s? give --key COLUMN; there are: %s", own[0].name, c.Name(), strings.Join(header, ", "))
}

// matchOne finds the key or the field of a column.
func (s *Shape) matchOne(c *everheap.Collection, own []column, name string) (column, error) {
	col := column{name: name}
	to, mapped := s.Fields[name]
	if mapped && to == "-" {
		col.skip = true
		return col, nil
	}
	col.isKey = hasKeys(c) && (s.Key != "" && name == s.Key || s.Key == "" && name == own[0].name && own[0].isKey)
	if !mapped {
		to = name
	}
	value := c.ValueInfo()
	for _, o := range own {
		if o.name == to && len(o.field) == 0 && (!o.isKey || col.isKey) {
			o.name, o.isKey = name, col.isKey
			return o, nil
		}
	}
	field, t := find(value, to)
	switch {
	case t != nil:
		col.field, col.kind = field, kindOf(t)
	case col.isKey:
		col.only = true
	default:
		names := make([]string, 0, len(value.Fields))
		for _, f := range value.Fields {
			names = append(names, f.Name)
		}
		if len(names) == 0 {
			names = []string{valueColumn}
		}
		return col, fmt.Errorf("the column %q is not a field of %s (%s); give --map %s=FIELD, or --map %s=- to leave it out", name, value.Name, strings.Join(names, ", "), name, name)
	}
	if col.isKey {
		col.key = kindOf(c.KeyInfo())
	}
	return col, nil
}

// object builds the JSON of a value from its fields.
type object struct {
	text  []byte // JSON of the fields that are columns
	parts map[string]*object
}

// put sets a field.
func (o *object) put(field []string, value []byte) {
	if len(field) == 1 {
		o.text = append(o.text, ',')
		o.text = append(append(o.text, rawjson.String([]byte(field[0]))...), ':')
		o.text = append(o.text, value...)
		return
	}
	if o.parts == nil {
		o.parts = map[string]*object{}
	}
	part := o.parts[field[0]]
	if part == nil {
		part = &object{}
		o.parts[field[0]] = part
	}
	part.put(field[1:], value)
}

// json returns the JSON of all fields.
func (o *object) json() []byte {
	for _, n := range slices.Sorted(maps.Keys(o.parts)) {
		o.put([]string{n}, o.parts[n].json())
	}
	if len(o.text) == 0 {
		return []byte("{}")
	}
	o.text[0] = '{'
	return append(o.text, '}')
}
