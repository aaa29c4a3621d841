package query

import (
	"encoding/json"
	"math/big"
	"strings"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// class says how values of a type are compared.
type class int

const (
	other class = iota // by their JSON, and only whether they are equal
	number
	text
	truth
	moment
)

// bound is the type that a path refers to, and how its values are compared.
type bound struct {
	isKey bool
	typ   *everheap.TypeInfo
	class class
}

// IsKey reports whether the path is the key.
func (p *Path) IsKey() bool { return p.isKey && len(p.steps) == 0 }

// Numeric reports whether the path refers to numbers.
func (p *Path) Numeric() bool { return p.class == number }

// classOf returns how values of a type are compared.
func classOf(t *everheap.TypeInfo) class {
	switch t.Kind {
	case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "float32", "float64":
		return number
	case "string", "text", "netip.Addr", "netip.AddrPort", "netip.Prefix":
		return text
	case "bool":
		return truth
	case "time.Time":
		return moment
	}
	return other
}

// Target follows pointers to the type behind them.
func Target(t *everheap.TypeInfo) *everheap.TypeInfo {
	for range 8 {
		if t.Kind != "pointer" {
			break
		}
		t = t.Elem
	}
	return t
}

// Bind finds the paths of a query in the types of the collection.
func (q *Query) Bind(c *everheap.Collection) error {
	key, value := c.KeyInfo(), c.ValueInfo()
	for _, p := range q.Show {
		if err := p.bind(key, value); err != nil {
			return err
		}
	}
	for _, o := range q.Order {
		if err := o.By.bind(key, value); err != nil {
			return err
		}
		if o.By.class == other {
			return errorf(o.By.At, "%s is a %s, which has no order", o.By.Text, o.By.typ.Name)
		}
	}
	return bindExpr(q.Where, key, value)
}

// bindExpr finds the paths of a condition.
func bindExpr(e Expr, key, value *everheap.TypeInfo) error {
	switch e := e.(type) {
	case *And:
		return first(bindExpr(e.A, key, value), func() error { return bindExpr(e.B, key, value) })
	case *Or:
		return first(bindExpr(e.A, key, value), func() error { return bindExpr(e.B, key, value) })
	case *Not:
		return bindExpr(e.A, key, value)
	case *Compare:
		return first(e.Path.bind(key, value), e.check)
	}
	return nil
}

// first returns err, or if that is nil the error of a function.
func first(err error, fn func() error) error {
	if err != nil {
		return err
	}
	return fn()
}

// bind finds the type that the path refers to.
func (p *Path) bind(key, value *everheap.TypeInfo) error {
	t, name := value, p.steps[0].name
	switch {
	case name == "key" && key != nil:
		t, p.isKey, p.steps = key, true, p.steps[1:]
	case name == "value" && field(Target(value), name) == nil:
		p.steps = p.steps[1:]
	}
	for i := range p.steps {
		s := &p.steps[i]
		t = Target(t)
		switch {
		case s.name == "" && (t.Kind == "slice" || t.Kind == "array"):
			t = t.Elem
		case s.name == "":
			return errorf(p.At, "%s: a %s has no elements", p.Text, t.Name)
		case t.Kind != "struct":
			return errorf(p.At, "%s: a %s has no field %s%s", p.Text, t.Name, s.name, hint(p, key, value))
		default:
			f := field(t, s.name)
			if f == nil {
				return errorf(p.At, "%s has no field %s; it has: %s", t.Name, s.name, strings.Join(names(t), ", "))
			}
			s.name, t = f.Name, f.Type
		}
	}
	p.typ = Target(t)
	p.class = classOf(p.typ)
	return nil
}

// hint names the paths that exist, for types without fields.
func hint(p *Path, key, value *everheap.TypeInfo) string {
	if len(p.steps) != 1 || p.isKey {
		return ""
	}
	if key != nil {
		return "; there are key and value"
	}
	return "; there is value"
}

// field returns a field, by its name or by its name in another case.
func field(t *everheap.TypeInfo, name string) *everheap.FieldInfo {
	var like *everheap.FieldInfo
	for i := range t.Fields {
		switch f := &t.Fields[i]; {
		case f.Name == name:
			return f
		case strings.EqualFold(f.Name, name) && like == nil:
			like = f
		}
	}
	return like
}

// names returns the names of the fields.
func names(t *everheap.TypeInfo) (list []string) {
	for _, f := range t.Fields {
		list = append(list, f.Name)
	}
	return list
}

// check returns an error if values of the path have no such comparison.
func (c *Compare) check() error {
	p := c.Path
	switch c.Op {
	case "contains":
		if p.class == text || p.typ.Kind == "slice" || p.typ.Kind == "array" {
			break
		}
		return errorf(p.At, "%s is a %s, which contains nothing", p.Text, p.typ.Name)
	case "starts", "ends":
		if p.class != text {
			return errorf(p.At, "%s is a %s, and no text", p.Text, p.typ.Name)
		}
	case "<", "<=", ">", ">=":
		if p.class == other {
			return errorf(p.At, "%s is a %s, which has no order", p.Text, p.typ.Name)
		}
	}
	for i := range c.With {
		cl, name := p.class, p.typ.Name
		if c.Op == "contains" && p.class != text {
			elem := Target(p.typ.Elem)
			cl, name = classOf(elem), elem.Name
		}
		if err := c.With[i].check(cl, p.Text, name); err != nil {
			return err
		}
	}
	return nil
}

// check returns an error if a literal is not of a class.
func (l *Literal) check(cl class, path, typ string) error {
	b := l.JSON
	if string(b) == "null" {
		return nil
	}
	switch cl {
	case number:
		if _, ok := numberOf(b); !ok {
			return errorf(l.At, "%s is of type %s: compare it with a number, and not %s", path, typ, b)
		}
	case text:
		if b[0] != '"' && b[0] != '{' {
			return errorf(l.At, "%s is of type %s: compare it with a text in quotes: \"%s\"", path, typ, b)
		}
	case truth:
		if s := string(b); s != "true" && s != "false" {
			return errorf(l.At, "%s is of type %s: compare it with true or false, and not %s", path, typ, b)
		}
	case moment:
		t, ok := timeOf(b)
		if !ok {
			return errorf(l.At, "%s is a time: compare it with one such as \"2024-02-29\" or \"2024-02-29T12:00:00Z\", and not %s", path, b)
		}
		l.JSON = rawjson.String(t.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// numberOf reads a number; ok is false for a NaN.
func numberOf(b []byte) (*big.Float, bool) {
	s := string(b)
	switch s {
	case `"Infinity"`:
		return new(big.Float).SetInf(false), true
	case `"-Infinity"`:
		return new(big.Float).SetInf(true), true
	}
	if len(s) == 0 || s[0] == '"' || !json.Valid(b) {
		return nil, false
	}
	f, _, err := big.ParseFloat(s, 10, 128, big.ToNearestEven)
	return f, err == nil
}

// timeOf reads a time, or a day.
func timeOf(b []byte) (time.Time, bool) {
	if s, ok := rawjson.Plain(b); ok {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
			if t, err := time.Parse(layout, s); err == nil {
				return t, true
			}
		}
		return time.Time{}, false
	}
	var u struct {
		Unix *int64 `json:"$unix"`
		Nsec int64  `json:"$nsec"`
	}
	if json.Unmarshal(b, &u) != nil || u.Unix == nil {
		return time.Time{}, false
	}
	return time.Unix(*u.Unix, u.Nsec), true
}
