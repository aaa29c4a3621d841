package query

import (
	"iter"
	"slices"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// Answer says how a query was answered.
type Answer struct {
	How   string // how the entries were found: "the key", "a range of keys", "the index by_city", "a scan"
	Order string // InOrder or ThenSorted, if the query has an order
	Seen  int    // entries examined
	Rows  int    // rows yielded
	More  bool   // the limit cut the rows off
}

// How an order comes about: the entries are found in that order, or are sorted.
const (
	InOrder    = ", already in order"
	ThenSorted = ", then sorted"
)

// Ask is a question to the indexes.
type Ask struct {
	All   []*Compare // conditions, all of which must hold
	Order []Order    // the wanted order
	Keys  bool       // Order is the order of the keys, and the query does not ask for it: then using an index must not cost a sort of many entries
}

// Found is the entries that an index has found.
type Found struct {
	Name    string // of the index
	Entries iter.Seq2[[]byte, []byte]
	Ordered bool // the entries come in the wanted order
}

// Indexes finds entries by their fields, where a collection has indexes.
type Indexes interface {
	// Find returns the entries for which the conditions may hold; a zero Found if no index is useful.
	Find(tx *everheap.Tx, c *everheap.Collection, ask Ask) (Found, error)
}

// NoIndexes is a space without indexes.
type NoIndexes struct{}

// Find implements Indexes.
func (NoIndexes) Find(*everheap.Tx, *everheap.Collection, Ask) (Found, error) { return Found{}, nil }

// plan says how a query is answered.
type plan struct {
	how     string
	entries iter.Seq2[[]byte, []byte] // the candidates
	sortBy  []Order                   // nil if the entries come in the order
	inOrder string                    // as in Answer
}

// plan returns the candidates of a query, how they are found, and how they get their order.
func (q *Query) plan(tx *everheap.Tx, c *everheap.Collection, indexes Indexes) (p plan, err error) {
	if err := q.checkRange(tx, c); err != nil {
		return p, err
	}
	ask := Ask{All: conjuncts(q.Where, nil), Order: q.Order}
	if q.AnyOrder {
		ask.Order = nil
	}
	if len(ask.Order) == 0 && c.Ordered() && !q.AnyOrder {
		ask.Order, ask.Keys = []Order{{By: keyPath(c), Down: q.Reverse}}, true
	}
	ordered := false
	if keys, some := keysOf(ask.All, c); some && q.From == nil && q.To == nil && q.Prefix == nil {
		p.how = "the keys"
		if len(keys) < 2 {
			p.how, ask.Order = "the key", nil
		}
		ordered = len(ask.Order) > 0 && ask.Order[0].By.IsKey()
		p.entries = q.inKeys(tx, c, keys, ask.Order)
	} else if p, ordered, err = q.walk(tx, c, indexes, ask); err != nil {
		return p, err
	}
	switch {
	case ask.Keys && ordered, len(ask.Order) == 0:
	case ordered:
		p.inOrder = InOrder
	case ask.Keys:
		p.sortBy = ask.Order
	default:
		p.sortBy, p.inOrder = ask.Order, ThenSorted
	}
	return p, nil
}

// keyPath returns the key as a path.
func keyPath(c *everheap.Collection) *Path {
	key := &Path{Text: "key"}
	if t := c.KeyInfo(); t != nil {
		key.bound = bound{true, Target(t), classOf(Target(t))}
	}
	return key
}

// walk plans a query that is not answered by single keys.
func (q *Query) walk(tx *everheap.Tx, c *everheap.Collection, indexes Indexes, ask Ask) (p plan, ordered bool, err error) {
	p.how = "a scan"
	json := c.As(everheap.JSON)
	from, to, some := q.bounds(ask.All, c)
	if !some && (ask.Keys || !q.Reverse) {
		f, err := indexes.Find(tx, c, ask)
		if err != nil {
			return p, false, err
		}
		if f.Entries != nil {
			return plan{how: "the index " + f.Name, entries: f.Entries}, f.Ordered, nil
		}
	}
	if !c.Ordered() {
		p.entries = json.All(tx)
		if q.Prefix != nil {
			p.entries = withPrefix(p.entries, q.Prefix)
		}
		return p, false, nil
	}
	if some {
		p.how = "a range of keys"
	}
	back := q.Reverse
	if ordered = ask.Keys; !ordered && len(ask.Order) > 0 && ask.Order[0].By.inTreeOrder(c) {
		ordered, back = true, ask.Order[0].Down
	}
	if p.entries = json.Range(tx, from, to); back {
		p.entries = json.Backward(tx, from, to)
	}
	return p, ordered, nil
}

// inTreeOrder reports whether a walk over an ordered collection yields the entries in the order of a path.
func (p *Path) inTreeOrder(c *everheap.Collection) bool {
	return p.IsKey() && (c.Kind() == "list" || likeIndex(p.typ))
}

// withPrefix returns the entries whose keys begin with a text.
func withPrefix(all iter.Seq2[[]byte, []byte], prefix *Literal) iter.Seq2[[]byte, []byte] {
	s, _ := rawjson.Plain(prefix.JSON)
	return func(yield func(key, value []byte) bool) {
		for k, v := range all {
			if text, _ := rawjson.Plain(k); strings.HasPrefix(text, s) && !yield(k, v) {
				return
			}
		}
	}
}

// inKeys returns the existing entries of keys, in the order of the keys if the query needs it.
func (q *Query) inKeys(tx *everheap.Tx, c *everheap.Collection, keys [][]byte, order []Order) iter.Seq2[[]byte, []byte] {
	if len(order) > 0 && order[0].By.IsKey() && order[0].Down {
		slices.Reverse(keys)
	}
	in := c.As(everheap.JSON)
	return func(yield func(key, value []byte) bool) {
		for _, key := range keys {
			if v, err := in.Get(tx, key); err == nil && !yield(key, v) {
				return
			}
		}
	}
}

// keysOf returns the only keys for which comparisons can hold, in order; some is false if there may be more.
func keysOf(all []*Compare, c *everheap.Collection) (keys [][]byte, some bool) {
	for _, e := range all {
		if c.KeyType() == "" || !e.Path.IsKey() || e.Op != "=" && e.Op != "in" {
			continue
		}
		if list := e.alternatives(e.Path.typ, fitsType); list != nil && (!some || len(list) < len(keys)) {
			keys, some = list, true
		}
	}
	return keys, some
}

// alternatives returns the values of a comparison by = or in, each once and in order; nil if one of
// them is not a value of the type.
func (e *Compare) alternatives(t *everheap.TypeInfo, fits func(*everheap.TypeInfo, []byte) bool) (list [][]byte) {
	cl := classOf(t)
	for i := range e.With {
		b := e.With[i].JSON
		if !fits(t, b) {
			return nil
		}
		list = append(list, asStored(t, b))
	}
	slices.SortFunc(list, func(a, b []byte) int { return inOrder(cl, a, b) })
	return slices.CompactFunc(list, func(a, b []byte) bool { return inOrder(cl, a, b) == 0 })
}

// bounds returns the range of the keys for which comparisons can hold.
func (q *Query) bounds(all []*Compare, c *everheap.Collection) (from, to everheap.Bound[[]byte], some bool) {
	if !c.Ordered() {
		return from, to, false
	}
	if q.Prefix != nil {
		s, _ := rawjson.Plain(q.Prefix.JSON)
		from, to = prefixBounds(s)
		return from, to, true
	}
	if q.From != nil {
		from, some = everheap.Including(q.From.JSON), true
	}
	if q.To != nil {
		to, some = everheap.Excluding(q.To.JSON), true
	}
	lower, upper := q.From != nil, q.To != nil
	for _, e := range all {
		if !e.Path.IsKey() || len(e.With) != 1 || !fits(e.Path, e.With[0].JSON) {
			continue
		}
		key := e.With[0].JSON
		switch {
		case e.Op == ">" && !lower:
			from, lower = everheap.Excluding(key), true
		case e.Op == ">=" && !lower:
			from, lower = everheap.Including(key), true
		case e.Op == "<" && !upper:
			to, upper = everheap.Excluding(key), true
		case e.Op == "<=" && !upper:
			to, upper = everheap.Including(key), true
		case e.isPrefix() && !lower && !upper:
			s, _ := rawjson.Plain(key)
			from, to = prefixBounds(s)
			lower, upper = true, true
		}
	}
	return from, to, lower || upper
}

// isPrefix reports whether the comparison asks for strings that begin with a non-empty text.
func (e *Compare) isPrefix() bool {
	if e.Op != "starts" || e.Path.typ.Kind != "string" {
		return false
	}
	s, ok := rawjson.Plain(e.With[0].JSON)
	return ok && s != ""
}

// prefixBounds returns the bounds of the strings that begin with a text.
func prefixBounds(prefix string) (from, to everheap.Bound[[]byte]) {
	from = everheap.Including(rawjson.String(prefix))
	end := prefix
	for end != "" && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if end == "" { // no string is greater
		return from, everheap.Unbounded[[]byte]()
	}
	return from, everheap.Excluding(rawjson.String(end[:len(end)-1] + string([]byte{end[len(end)-1] + 1})))
}
