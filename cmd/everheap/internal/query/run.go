package query

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// Row is an entry: its key and its value as JSON.
type Row struct{ Key, Value []byte }

// errStop ends a walk.
var errStop = errors.New("stop")

// Run passes the entries of a query to yield. An error of yield ends the walk.
func (q *Query) Run(ctx context.Context, tx *everheap.Tx, c *everheap.Collection, indexes Indexes, yield func(Row) error) (a Answer, err error) {
	p, err := q.plan(tx, c, indexes)
	if err != nil {
		return a, err
	}
	a.How, a.Order = p.how, p.inOrder
	put := func(r Row) error {
		if q.Limit >= 0 && a.Rows == q.Limit {
			a.More = true
			return errStop
		}
		a.Rows++
		return yield(r)
	}
	var sorted *sorter
	if len(p.sortBy) > 0 {
		sorted = &sorter{order: p.sortBy, limit: q.Limit}
	}
	for key, value := range p.entries {
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

// checkRange returns an error if a collection does not support the range of the query.
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

// unwrapJSON returns the error about a key, without the operation around it.
func unwrapJSON(err error) error {
	if e := (*everheap.JSONError)(nil); errors.As(err, &e) {
		return e
	}
	return err
}

// Key returns a literal as the key of a collection. A word is a string if the keys are strings.
func Key(c *everheap.Collection, l *Literal) []byte {
	if l.Bare != "" && c.StringKeys() {
		return rawjson.String(l.Bare)
	}
	return l.JSON
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

// fits reports whether a literal is exactly a key: 1.5 is not an int.
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

// cut drops the rows beyond the limit.
func (s *sorter) cut() {
	slices.SortStableFunc(s.list, s.compare)
	if s.limit >= 0 && len(s.list) > s.limit {
		clear(s.list[s.limit:])
		s.list, s.dropped = s.list[:s.limit], true
	}
}

// compare compares two rows; null comes first, then NaN.
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
			n = inOrder(o.By.class, a.by[i], b.by[i])
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

// inOrder compares two values of a class in a total order: NaN is less than every number, as in an
// index.
func inOrder(cl class, a, b []byte) int {
	n, ok := compare(cl, a, b)
	if ok || cl != number {
		return n
	}
	_, okA := numberOf(a)
	_, okB := numberOf(b)
	switch {
	case okA == okB:
		return 0
	case okB:
		return -1
	}
	return 1
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

// How says how the entries of a query would be found, and in which order they would come.
func (q *Query) How(tx *everheap.Tx, c *everheap.Collection, indexes Indexes) (Answer, error) {
	p, err := q.plan(tx, c, indexes)
	return Answer{How: p.how, Order: p.inOrder}, err
}
