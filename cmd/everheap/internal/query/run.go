package query

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// Row is an entry: its key and its value as JSON.
type Row struct{ Key, Value []byte }

// Answer says how a query was answered.
type Answer struct {
	How  string // by what the entries were found: "the key", "a range of keys", "the index by_city", "a scan"
	Seen int    // entries that were looked at
	Rows int    // that were yielded
	More bool   // the limit cut the rows off
}

// Indexes finds entries by their fields, where a collection has indexes.
type Indexes interface {
	// Find returns the entries for which one of some conditions may hold, all of which must,
	// and the name of the index by which it finds them; nil if no index serves. keyOrder asks for
	// them in the order of their keys.
	Find(tx *everheap.Tx, c *everheap.Collection, all []*Compare, keyOrder bool) (name string, found iter.Seq2[[]byte, []byte], err error)
}

// NoIndexes is a space without indexes.
type NoIndexes struct{}

// Find implements Indexes.
func (NoIndexes) Find(*everheap.Tx, *everheap.Collection, []*Compare, bool) (string, iter.Seq2[[]byte, []byte], error) {
	return "", nil, nil
}

// errStop ends a walk.
var errStop = errors.New("stop")

// Run passes the entries that a query asks for to yield, which may end the walk by an error.
func (q *Query) Run(ctx context.Context, tx *everheap.Tx, c *everheap.Collection, indexes Indexes, yield func(Row) error) (a Answer, err error) {
	entries, how, err := q.entries(tx, c, indexes)
	if err != nil {
		return a, err
	}
	a.How = how
	put := func(r Row) error {
		if q.Limit >= 0 && a.Rows == q.Limit {
			a.More = true
			return errStop
		}
		a.Rows++
		return yield(r)
	}
	var sorted *sorter
	if len(q.Order) > 0 {
		sorted = &sorter{order: q.Order, limit: q.Limit}
	}
	for key, value := range entries {
		if a.Seen++; a.Seen%256 == 0 && ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		if !holds(q.Where, key, value) {
			continue
		}
		if sorted != nil {
			sorted.add(Row{key, value})
		} else if err = put(Row{key, value}); err != nil {
			break
		}
	}
	if sorted != nil {
		for _, r := range sorted.rows() {
			if err = put(r); err != nil {
				break
			}
		}
		a.More = a.More || sorted.dropped
	}
	if errors.Is(err, errStop) {
		err = nil
	}
	return a, err
}

// entries returns the entries that may be asked for, and how they are found.
func (q *Query) entries(tx *everheap.Tx, c *everheap.Collection, indexes Indexes) (iter.Seq2[[]byte, []byte], string, error) {
	json := c.As(everheap.JSON)
	if err := q.checkRange(tx, c); err != nil {
		return nil, "", err
	}
	all := conjuncts(q.Where, nil)
	if key := keyOf(all, c); key != nil && q.From == nil && q.To == nil && q.Prefix == nil && c.KeyType() != "" {
		return one(tx, json, key), "the key", nil
	}
	if !c.Ordered() {
		return q.unordered(tx, c, indexes, all)
	}
	if q.Prefix != nil {
		s, _ := rawjson.Plain(q.Prefix.JSON)
		if !q.Reverse {
			return json.Prefix(tx, s), "a range of keys", nil
		}
		from, to := everheap.Prefix(s)
		return json.Backward(tx, stringBound(from, s), stringBound(to, s)), "a range of keys", nil
	}
	from, to, some := q.bounds(all, c)
	if !some && !q.Reverse {
		if name, found, err := indexes.Find(tx, c, all, len(q.Order) == 0); found != nil || err != nil {
			return found, "the index " + name, err
		}
	}
	how := "a scan"
	if some {
		how = "a range of keys"
	}
	if q.Reverse {
		return json.Backward(tx, from, to), how, nil
	}
	return json.Range(tx, from, to), how, nil
}

// stringBound returns a bound of a prefix as JSON.
func stringBound(b everheap.Bound[string], prefix string) everheap.Bound[[]byte] {
	from, to := everheap.Prefix(prefix)
	switch b {
	case from:
		return everheap.Including(rawjson.String(prefix))
	case to:
		if to == everheap.Unbounded[string]() {
			return everheap.Unbounded[[]byte]()
		}
		p := prefix
		for p[len(p)-1] == 0xff {
			p = p[:len(p)-1]
		}
		return everheap.Excluding(rawjson.String(p[:len(p)-1] + string([]byte{p[len(p)-1] + 1})))
	}
	return everheap.Unbounded[[]byte]()
}

// unordered returns the entries of a map or of a single value.
func (q *Query) unordered(tx *everheap.Tx, c *everheap.Collection, indexes Indexes, all []*Compare) (iter.Seq2[[]byte, []byte], string, error) {
	json := c.As(everheap.JSON)
	if q.Prefix != nil {
		s, _ := rawjson.Plain(q.Prefix.JSON)
		return func(yield func(key, value []byte) bool) {
			for k, v := range json.All(tx) {
				if text, _ := rawjson.Plain(k); strings.HasPrefix(text, s) && !yield(k, v) {
					return
				}
			}
		}, "a scan", nil
	}
	if name, found, err := indexes.Find(tx, c, all, false); found != nil || err != nil {
		return found, "the index " + name, err
	}
	return json.All(tx), "a scan", nil
}

// checkRange returns an error if a collection has no such ranges.
func (q *Query) checkRange(tx *everheap.Tx, c *everheap.Collection) error {
	for _, l := range []*Literal{q.From, q.To, q.Prefix} {
		switch {
		case l == nil:
			continue
		case c.KeyType() == "":
			return errorf(l.At, "%s is a single value: it has no keys", c.Name())
		case l == q.Prefix && !c.StringKeys():
			return errorf(l.At, "the keys of %s are of type %s, and only strings have prefixes", c.Name(), c.KeyType())
		case l != q.Prefix && !c.Ordered():
			return errorf(l.At, "%s is a map without an order, so it has no ranges; a condition finds keys: where key >= …", c.Name())
		}
		l.JSON = Key(c, l)
		if _, err := c.As(everheap.JSON).GetAll(tx, l.JSON); err != nil {
			return errorf(l.At, "%v", unwrapJSON(err))
		}
	}
	if q.Reverse && !c.Ordered() {
		return fmt.Errorf("%s has no order to reverse; order by key desc", c.Name())
	}
	return nil
}

// unwrapJSON returns what is wrong with a key, without what was done meanwhile.
func unwrapJSON(err error) error {
	if e := (*everheap.JSONError)(nil); errors.As(err, &e) {
		return e
	}
	return err
}

// Key returns a literal as the key of a collection: a word is a string where keys are strings.
func Key(c *everheap.Collection, l *Literal) []byte {
	if l.Bare != "" && c.StringKeys() {
		return rawjson.String(l.Bare)
	}
	return l.JSON
}

// one returns the entry of a key, if it is there.
func one(tx *everheap.Tx, in everheap.Encoded, key []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		if v, err := in.Get(tx, key); err == nil {
			yield(key, v)
		}
	}
}

// conjuncts returns the comparisons that must hold for a condition.
func conjuncts(e Expr, list []*Compare) []*Compare {
	switch e := e.(type) {
	case *And:
		return conjuncts(e.B, conjuncts(e.A, list))
	case *Compare:
		return append(list, e)
	}
	return list
}

// keyOf returns the only key for which comparisons can hold; nil if there may be more.
func keyOf(all []*Compare, c *everheap.Collection) []byte {
	for _, e := range all {
		if e.Path.IsKey() && e.Op == "=" && fits(e.Path, e.With[0].JSON) {
			return e.With[0].JSON
		}
	}
	return nil
}

// fits reports whether a literal is a key as it stands: 1.5 is none of int.
func fits(p *Path, literal []byte) bool { return fitsType(p.typ, literal) }

// fitsType is fits for a type.
func fitsType(t *everheap.TypeInfo, literal []byte) bool {
	switch t.Kind {
	case "string":
		return literal[0] == '"'
	case "time.Time":
		return literal[0] == '"'
	case "bool":
		return string(literal) != "null"
	}
	bits, ok := map[string]int{"int": 64, "int8": 8, "int16": 16, "int32": 32, "int64": 64}[t.Kind]
	if ok {
		_, err := strconv.ParseInt(string(literal), 10, bits)
		return err == nil
	}
	bits, ok = map[string]int{"uint": 64, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}[t.Kind]
	if ok {
		_, err := strconv.ParseUint(string(literal), 10, bits)
		return err == nil
	}
	return false
}

// bounds returns the range of the keys for which comparisons can hold.
func (q *Query) bounds(all []*Compare, c *everheap.Collection) (from, to everheap.Bound[[]byte], some bool) {
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
		}
	}
	return from, to, lower || upper
}

// sorter keeps rows in an order: the first ones, if there is a limit.
type sorter struct {
	order   []Order
	limit   int
	list    []sortedRow
	dropped bool
}

// sortedRow is a row with the values that it is sorted by.
type sortedRow struct {
	Row
	by [][]byte
}

// add adds a row.
func (s *sorter) add(r Row) {
	by := make([][]byte, len(s.order))
	for i, o := range s.order {
		by[i] = o.By.Value(r.Key, r.Value)
	}
	s.list = append(s.list, sortedRow{r, by})
	if s.limit >= 0 && len(s.list) > 2*s.limit+1000 {
		s.cut()
	}
}

// cut drops what is behind the limit.
func (s *sorter) cut() {
	slices.SortStableFunc(s.list, s.compare)
	if s.limit >= 0 && len(s.list) > s.limit {
		clear(s.list[s.limit:])
		s.list, s.dropped = s.list[:s.limit], true
	}
}

// compare compares two rows; null comes first.
func (s *sorter) compare(a, b sortedRow) int {
	for i, o := range s.order {
		n := 0
		switch {
		case a.by[i] == nil && b.by[i] == nil:
		case a.by[i] == nil:
			n = -1
		case b.by[i] == nil:
			n = 1
		default:
			n, _ = compare(o.By.class, a.by[i], b.by[i])
		}
		if o.Down {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return 0
}

// rows returns the rows in order.
func (s *sorter) rows() iter.Seq2[int, Row] {
	s.cut()
	return func(yield func(int, Row) bool) {
		for i, r := range s.list {
			if !yield(i, r.Row) {
				return
			}
		}
	}
}

// How says by what the entries of a query would be found.
func (q *Query) How(tx *everheap.Tx, c *everheap.Collection, indexes Indexes) (string, error) {
	_, how, err := q.entries(tx, c, indexes)
	return how, err
}
