package query

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// Declared finds entries by the indexes that a collection has.
type Declared struct{}

// mostRanges is the maximum number of ranges of an index that a query reads.
const mostRanges = 1000

// Find implements Indexes. It takes the index with the most fields that conditions determine: the
// first fields by =, in, or contains for the elements of a slice, and one more field by <, starts and
// the like. If several are equal, or no index has such fields, it prefers an index that has the
// order.
func (Declared) Find(tx *everheap.Tx, c *everheap.Collection, ask Ask) (f Found, err error) {
	if c.KeyType() == "" {
		return f, nil
	}
	list, err := c.Indexes(tx)
	if err != nil || len(list) == 0 {
		return f, err
	}
	var best usable
	for _, x := range list {
		if u := usableBy(x, ask, c); u.score() > best.score() && (!ask.Keys || u.ordered || u.cheap() && likeIndex(ask.Order[0].By.typ)) {
			best = u
		}
	}
	if best.score() == 0 {
		return f, nil
	}
	return Found{best.name, best.entries(tx, c.As(everheap.JSON)), best.ordered}, nil
}

// usable says how conditions and an order can use an index.
type usable struct {
	name     string
	fields   int
	equal    [][][]byte // the values that each of the first fields may have, in order
	ranges   int        // number of ranges of the index to read
	from, to everheap.Bound[[]byte]
	bounds   int
	ordered  bool // the index has the order
	back     bool // from its last entry to its first
}

// score says how useful the index is; 0: not at all.
func (u *usable) score() int {
	n := 8*len(u.equal) + 2*u.bounds
	if u.ordered {
		n++
	}
	return n
}

// cheap reports whether conditions determine all fields: then the few entries found can be sorted.
func (u *usable) cheap() bool { return len(u.equal) == u.fields }

// usableBy returns how conditions and an order use an index.
func usableBy(x everheap.IndexInfo, ask Ask, c *everheap.Collection) (u usable) {
	paths := strings.Split(x.Path, ",")
	u.name, u.fields, u.ranges = x.Name, len(paths), 1
	for _, path := range paths {
		list := equalTo(path, ask.All)
		if list == nil || u.ranges*len(list) > mostRanges {
			break
		}
		u.equal = append(u.equal, list)
		u.ranges *= len(list)
	}
	rest := paths[len(u.equal):]
	if len(rest) > 0 {
		if u.within(rest[0], ask.All); u.bounds > 0 {
			rest = rest[1:]
		}
	}
	for _, path := range rest {
		if !always(path, c.ValueInfo()) {
			return usable{}
		}
	}
	u.setOrder(paths, ask)
	return u
}

// setOrder finds out whether the index has the order: its fields, one after another, and then the
// key. A field with a single value, by a condition, is in any order.
func (u *usable) setOrder(paths []string, ask Ask) {
	one := func(i int) bool { return i < len(u.equal) && len(u.equal[i]) == 1 }
	at, directed := 0, false
	u.ordered = false
	for _, o := range ask.Order {
		if i := slices.Index(paths, o.By.name()); i >= 0 && one(i) {
			continue
		}
		for one(at) {
			at++
		}
		if directed && o.Down != u.back {
			return
		}
		u.back, directed = o.Down, true
		switch {
		case o.By.IsKey() && at == len(paths) && (ask.Keys || likeIndex(o.By.typ)):
			u.ordered = true // no two entries have the same key
			return
		case at == len(paths) || o.By.name() != paths[at] || !likeIndex(o.By.typ):
			return
		}
		at++
	}
	u.ordered = len(ask.Order) > 0
}

// entries returns the entries that the index finds.
func (u *usable) entries(tx *everheap.Tx, in everheap.Encoded) iter.Seq2[[]byte, []byte] {
	back := u.back && u.ordered
	return func(yield func(key, value []byte) bool) {
		for i := range u.ranges {
			if back {
				i = u.ranges - 1 - i
			}
			equal := make([][]byte, len(u.equal))
			for f := len(u.equal) - 1; f >= 0; f-- {
				equal[f] = u.equal[f][i%len(u.equal[f])]
				i /= len(u.equal[f])
			}
			found := in.Indexed(tx, u.name, equal, u.from, u.to)
			if back {
				found = in.IndexedBackward(tx, u.name, equal, u.from, u.to)
			}
			for k, v := range found {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// equalTo returns the values to which conditions restrict a field: the shortest list, or nil if there
// is none.
func equalTo(path string, all []*Compare) (best [][]byte) {
	for _, e := range all {
		if e.Path.name() != path {
			continue
		}
		t := e.Path.typ
		if e.Op == "contains" && t.Kind == "slice" {
			t = Target(t.Elem)
			if t.Kind == "uint8" { // bytes are one value
				continue
			}
		} else if e.Op != "=" && e.Op != "in" {
			continue
		}
		if list := e.alternatives(t, fitsField); list != nil && (best == nil || len(list) < len(best)) {
			best = list
		}
	}
	return best
}

// within finds the bounds of a field by conditions. The bounds include a value that a condition
// excludes; the condition removes it later. A literal may have more digits than a float, so an exact
// bound would be wrong.
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
		case e.isPrefix() && !lower && !upper:
			s, _ := rawjson.Plain(e.With[0].JSON)
			u.from, u.to = prefixBounds(s)
			lower, upper = true, true
			u.bounds += 2
		}
	}
}

// name returns the path in the form of an index's path, the names of the fields; "" if an index
// cannot have it.
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

// likeIndex reports whether sorting values of a type gives the order of an index.
func likeIndex(t *everheap.TypeInfo) bool {
	return t.Kind == "string" || classOf(t) != text && classOf(t) != other
}

// fitsField is fits for a field, which can be a float.
func fitsField(t *everheap.TypeInfo, literal []byte) bool {
	if bits, ok := floats[t.Kind]; ok {
		_, err := strconv.ParseFloat(string(literal), bits)
		return err == nil
	}
	return fitsType(t, literal)
}

// floats are the sizes of floats.
var floats = map[string]int{"float32": 32, "float64": 64}

// asStored returns a literal as a value of a type: it rounds the digits that a float does not have.
func asStored(t *everheap.TypeInfo, literal []byte) []byte {
	bits, ok := floats[t.Kind]
	if !ok {
		return literal
	}
	f, err := strconv.ParseFloat(string(literal), bits)
	if err != nil {
		return literal
	}
	if f == 0 { // without a sign
		f = 0
	}
	return strconv.AppendFloat(nil, f, 'g', -1, bits)
}

// always reports whether each value has exactly one value of a field, so that the index has every
// entry. That is so if the path contains neither pointers nor slices.
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
