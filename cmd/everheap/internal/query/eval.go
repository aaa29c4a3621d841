package query

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"

	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// Value returns the value of the path in an entry, as JSON, or nil.
func (p *Path) Value(key, value []byte) []byte {
	b := value
	if p.isKey {
		b = key
	}
	for _, s := range p.steps {
		if b = s.from(unwrapped(b)); b == nil {
			return nil
		}
	}
	if b = unwrapped(b); string(b) == "null" {
		return nil
	}
	return b
}

// unwrapped returns the value inside the JSON object that marks a shared part.
func unwrapped(b []byte) []byte {
	for range 8 {
		if !bytes.HasPrefix(b, []byte(`{"$id"`)) && !bytes.HasPrefix(b, []byte(`{"$value"`)) {
			break
		}
		list, err := rawjson.Members(b, nil)
		if err != nil || list[len(list)-1].Name != "$value" {
			break
		}
		b = list[len(list)-1].Value
	}
	return b
}

// from returns the part of a value after the step, or nil.
func (s step) from(b []byte) []byte {
	if s.name == "" {
		return element(b, s.index)
	}
	list, err := rawjson.Members(b, nil)
	if err != nil {
		return nil
	}
	for _, m := range list {
		if m.Name == s.name {
			return m.Value
		}
	}
	return nil
}

// element returns an element of an array, or nil.
func element(b []byte, index int) []byte {
	var found []byte
	elements(b, func(e []byte) bool {
		if index--; index < 0 {
			found = e
			return false
		}
		return true
	})
	return found
}

// elements walks an array.
func elements(b []byte, yield func(e []byte) bool) {
	if len(b) < 2 || b[0] != '[' {
		return
	}
	for b = b[1:]; ; b = b[1:] {
		n := rawjson.Span(b)
		if n == 0 || !yield(b[:n]) {
			return
		}
		if b = b[n:]; len(b) == 0 || b[0] != ',' {
			return
		}
	}
}

// holds reports whether a condition holds for an entry.
func holds(e Expr, key, value []byte) bool {
	switch e := e.(type) {
	case *And:
		return holds(e.A, key, value) && holds(e.B, key, value)
	case *Or:
		return holds(e.A, key, value) || holds(e.B, key, value)
	case *Not:
		return !holds(e.A, key, value)
	case *Compare:
		return e.holds(e.Path.Value(key, value))
	}
	return true
}

// holds reports whether the comparison holds for a value; nil is null. Null equals null, and is
// neither less nor greater than any value.
func (c *Compare) holds(v []byte) bool {
	switch c.Op {
	case "=":
		return equal(c.Path.class, v, c.With[0].JSON)
	case "!=":
		return !equal(c.Path.class, v, c.With[0].JSON)
	case "in":
		for _, l := range c.With {
			if equal(c.Path.class, v, l.JSON) {
				return true
			}
		}
		return false
	case "contains", "starts", "ends":
		return c.contains(v)
	}
	if v == nil || string(c.With[0].JSON) == "null" {
		return false
	}
	n, ok := compare(c.Path.class, v, c.With[0].JSON)
	if !ok {
		return false
	}
	switch c.Op {
	case "<":
		return n < 0
	case "<=":
		return n <= 0
	case ">":
		return n > 0
	}
	return n >= 0
}

// contains reports whether a text or a list contains the value of the comparison.
func (c *Compare) contains(v []byte) bool {
	if v == nil {
		return false
	}
	if c.Path.class != text {
		found := false
		cl := classOf(Target(c.Path.typ.Elem))
		elements(v, func(e []byte) bool {
			found = equal(cl, unwrapped(e), c.With[0].JSON)
			return !found
		})
		return found
	}
	s, _ := rawjson.Plain(v)
	sub, _ := rawjson.Plain(c.With[0].JSON)
	switch c.Op {
	case "starts":
		return strings.HasPrefix(s, sub)
	case "ends":
		return strings.HasSuffix(s, sub)
	}
	return strings.Contains(s, sub)
}

// equal reports whether a value equals a literal.
func equal(cl class, v, with []byte) bool {
	if null := string(with) == "null"; v == nil || null {
		return v == nil && null
	}
	if cl == other {
		return bytes.Equal(compacted(v), compacted(with))
	}
	n, ok := compare(cl, v, with)
	return ok && n == 0
}

// compacted drops the space between the tokens of JSON.
func compacted(b []byte) []byte {
	var out []byte
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case ' ', '\t', '\n', '\r':
			continue
		case '"':
			n := max(rawjson.Span(b[i:]), 1)
			out = append(out, b[i:i+n]...)
			i += n - 1
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// compare compares two values of a class; ok is false if they have no order, as with a NaN.
func compare(cl class, a, b []byte) (n int, ok bool) {
	switch cl {
	case number:
		x, errX := strconv.ParseInt(string(a), 10, 64)
		y, errY := strconv.ParseInt(string(b), 10, 64)
		if errX == nil && errY == nil {
			return cmp.Compare(x, y), true
		}
		f, okF := numberOf(a)
		g, okG := numberOf(b)
		if !okF || !okG {
			return 0, false
		}
		return f.Cmp(g), true
	case moment:
		x, okX := timeOf(a)
		y, okY := timeOf(b)
		return x.Compare(y), okX && okY
	case truth:
		return cmp.Compare(len(b), len(a)), true // false is longer than true
	case text:
		x, okX := rawjson.Plain(a)
		y, okY := rawjson.Plain(b)
		return strings.Compare(x, y), okX && okY
	}
	return bytes.Compare(a, b), true
}
