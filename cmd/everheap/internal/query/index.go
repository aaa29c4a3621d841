package query

import (
	"iter"
	"strconv"
	"strings"

	"github.com/everheap/everheap"
)

// Declared finds entries by the indexes that a collection has.
type Declared struct{}

// Find implements Indexes. It takes the index of which conditions give the most fields: each one up to
// some field by =, or contains for the elements of a slice, and one more by < and the like.
func (Declared) Find(tx *everheap.Tx, c *everheap.Collection, all []*Compare, keyOrder bool) (string, iter.Seq2[[]byte, []byte], error) {
	if len(all) == 0 || c.KeyType() == "" {
		return "", nil, nil
	}
	list, err := c.Indexes(tx)
	if err != nil || len(list) == 0 {
		return "", nil, err
	}
	var best usable
	value := c.ValueInfo()
	for _, x := range list {
		if u := usableBy(x, all, value); u.score() > best.score() && (!keyOrder || len(u.equal) == u.fields) {
			best = u
		}
	}
	if best.score() == 0 {
		return "", nil, nil
	}
	return best.name, c.As(everheap.JSON).Indexed(tx, best.name, best.equal, best.from, best.to), nil
}

// usable is how conditions use an index.
type usable struct {
	name     string
	fields   int
	equal    [][]byte // values of the first fields
	from, to everheap.Bound[[]byte]
	bounds   int
}

// score says how good it is; 0: it is of no use.
func (u *usable) score() int { return 4*len(u.equal) + u.bounds }

// usableBy returns how conditions use an index on values of a type.
func usableBy(x everheap.IndexInfo, all []*Compare, value *everheap.TypeInfo) (u usable) {
	paths := strings.Split(x.Path, ",")
	u.name, u.fields = x.Name, len(paths)
	for _, path := range paths {
		b := equalTo(path, all)
		if b == nil {
			break
		}
		u.equal = append(u.equal, b)
	}
	rest := paths[len(u.equal):]
	if len(rest) > 0 {
		if u.within(rest[0], all); u.bounds > 0 {
			rest = rest[1:]
		}
	}
	for _, path := range rest {
		if !always(path, value) {
			return usable{}
		}
	}
	return u
}

// equalTo returns the value that conditions give a field; nil if they do not.
func equalTo(path string, all []*Compare) []byte {
	for _, e := range all {
		if e.Path.name() != path || len(e.With) != 1 {
			continue
		}
		t, b := e.Path.typ, e.With[0].JSON
		if e.Op == "contains" && t.Kind == "slice" {
			t = Target(t.Elem)
			if t.Kind == "uint8" { // bytes are one value
				continue
			}
		} else if e.Op != "=" {
			continue
		}
		if fitsField(t, b) {
			return b
		}
	}
	return nil
}

// within finds the bounds that conditions give a field. They include what a condition excludes, which
// is left out later: of a float there may be more digits than it has.
func (u *usable) within(path string, all []*Compare) {
	lower, upper := false, false
	for _, e := range all {
		if e.Path.name() != path || len(e.With) != 1 || !fitsField(e.Path.typ, e.With[0].JSON) {
			continue
		}
		b := everheap.Including(e.With[0].JSON)
		switch {
		case (e.Op == ">" || e.Op == ">=") && !lower:
			u.from, lower = b, true
			u.bounds++
		case (e.Op == "<" || e.Op == "<=") && !upper:
			u.to, upper = b, true
			u.bounds++
		}
	}
}

// name returns the path as that of an index: the names of the fields; "" if it is none.
func (p *Path) name() string {
	if p.isKey {
		return ""
	}
	var names []string
	for _, s := range p.steps {
		if s.name == "" {
			return ""
		}
		names = append(names, s.name)
	}
	return strings.Join(names, ".")
}

// fitsField is fits for a field, which can be a float.
func fitsField(t *everheap.TypeInfo, literal []byte) bool {
	if bits, ok := map[string]int{"float32": 32, "float64": 64}[t.Kind]; ok {
		_, err := strconv.ParseFloat(string(literal), bits)
		return err == nil
	}
	return fitsType(t, literal)
}

// always reports whether each value has exactly one of a field, so that the index has every entry: the
// way to it leads through neither pointers nor slices.
func always(path string, t *everheap.TypeInfo) bool {
	for _, name := range strings.Split(path, ".") {
		f := field(t, name)
		if f == nil {
			return false
		}
		t = f.Type
	}
	return t.Kind != "pointer" && t.Kind != "slice"
}
