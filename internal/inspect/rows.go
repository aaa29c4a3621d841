package inspect

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/everheap/everheap"
)

// row is an entry in a list of entries.
type row struct {
	Key  string `json:"key,omitempty"` // JSON; missing if the collection has no keys, or if it is too long
	Cut  string `json:"cut,omitempty"` // the beginning of a long key
	Text string `json:"text"`          // the beginning of the value; "" if the value is too large
	Size uint64 `json:"size"`
	Gone bool   `json:"gone,omitempty"` // the key was deleted after the keys were listed
}

// rowsAnswer has some entries of a collection.
type rowsAnswer struct {
	Version uint64  `json:"version"`
	Kind    string  `json:"kind"`
	Len     uint64  `json:"len"`   // entries of the collection
	Total   int     `json:"total"` // rows that can be requested
	From    int     `json:"from"`
	Rows    []row   `json:"rows"`
	Stale   bool    `json:"stale,omitempty"`  // the keys have changed since they were listed
	Cut     bool    `json:"cut,omitempty"`    // the collection has more keys than the list
	Making  float64 `json:"making,omitempty"` // the listed fraction, while the keys are being listed
}

// Limits of rows.
const (
	shortValue = 64 << 10 // the beginning of a value is shown only if its block has at most this size
	shortText  = 240
	shortKey   = 8 << 10
)

// rows returns some entries of a collection.
func (sp *space) rows(ctx context.Context, q *query) (any, error) {
	a := &rowsAnswer{From: q.from, Rows: []row{}}
	err := sp.look(q.at, func(tx *everheap.Tx) error {
		s, err := open(tx, q.id)
		if err != nil {
			return err
		}
		a.Version, a.Kind, a.Len, a.Total = uint64(tx.Version()), s.of.Kind, s.st.Count, int(s.st.Count)
		switch {
		case s.of.Kind == "ref":
			a.Total, a.Len = 1, 1
			return a.single(s, q)
		case s.of.Kind == "list", s.of.Kind == "sorted" && q.filter == "":
			return a.ordered(s, q)
		}
		return nil
	})
	if err != nil || a.Kind != "map" && (a.Kind != "sorted" || q.filter == "") {
		return a, err
	}
	l, m, stale, err := sp.list(ctx, keysOf{q.id, q.at})
	if err != nil {
		return nil, err
	}
	if l == nil {
		a.Making = max(0.001, float64(m.seen.Load())/float64(max(m.total, 1)))
		return a, nil
	}
	a.Cut = l.cut
	return a, sp.look(q.at, func(tx *everheap.Tx) error { return a.listed(tx, l, stale, q) })
}

// single adds the one row of a single value.
func (a *rowsAnswer) single(s *stored, q *query) error {
	if q.from > 0 {
		return nil
	}
	k, err := s.form.Key(nil)
	if err != nil {
		return err
	}
	value, size, err := s.form.Bounded(s.st, k, shortValue)
	a.Rows = append(a.Rows, row{Text: beginning(value), Size: size})
	return err
}

// ordered adds the rows of a sorted map or a list.
func (a *rowsAnswer) ordered(s *stored, q *query) error {
	for i := q.from; i < min(q.from+q.count, a.Total); i++ {
		key, value, size, err := s.form.BoundedNth(s.st, i, shortValue)
		if errors.Is(err, everheap.ErrNotFound) {
			return nil // some entries have expired
		}
		if err != nil {
			return err
		}
		a.Rows = append(a.Rows, makeRow(key, value, size))
	}
	return nil
}

// listed adds the rows of keys in a keyList, with values in the version of a transaction.
func (a *rowsAnswer) listed(tx *everheap.Tx, l *keyList, older bool, q *query) error {
	s, err := open(tx, q.id)
	if err != nil {
		return err
	}
	a.Version, a.Len, a.Total = uint64(tx.Version()), s.st.Count, len(l.ends)
	a.Stale = older && s.st.Count != uint64(len(l.ends))
	at := func(i int) []byte { return l.key(i) }
	if q.filter != "" {
		found := l.find(q.filter)
		a.Total = len(found)
		at = func(i int) []byte { return l.key(int(found[i])) }
		if key := missed(s, l, older, found, q.filter); key != nil {
			a.Total++
			at = func(i int) []byte {
				if i == 0 {
					return key
				}
				return l.key(int(found[i-1]))
			}
		}
	}
	for i := q.from; i < min(q.from+q.count, a.Total); i++ {
		key := at(i)
		k, err := s.form.Key(key)
		if err != nil {
			return err
		}
		value, size, err := s.form.Bounded(s.st, k, shortValue)
		gone := errors.Is(err, everheap.ErrNotFound)
		if err != nil && !gone {
			return err
		}
		r := makeRow(key, value, size)
		r.Gone = gone
		a.Rows = append(a.Rows, r)
	}
	return nil
}

// missed returns the key that equals the filter, if the collection has it and the list, being older
// or cut, does not.
func missed(s *stored, l *keyList, older bool, found []uint32, filter string) []byte {
	if !older && !l.cut {
		return nil
	}
	key := []byte(filter)
	if l.quoted {
		key = append(append([]byte(`"`), inner(filter)...), '"')
	}
	k, err := s.form.Key(key)
	if err != nil {
		return nil
	}
	if has, err := s.form.Has(s.st, k); err != nil || !has {
		return nil
	}
	if len(found) > 0 && string(l.key(int(found[0]))) == string(key) {
		return nil
	}
	return key
}

// makeRow makes a row.
func makeRow(key, value []byte, size uint64) row {
	r := row{Text: beginning(value), Size: size}
	if len(key) > shortKey {
		r.Cut = beginning(key)
	} else {
		r.Key = string(key)
	}
	return r
}

// beginning returns the beginning of a text, cut between characters.
func beginning(b []byte) string {
	if len(b) <= shortText {
		return string(b)
	}
	n := shortText
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return string(b[:n]) + "…"
}
