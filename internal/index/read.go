package index

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/everheap/everheap/internal/layout"
)

// A View is an index as a program sees it, by a Go type of its field values. The type is that of
// the one field, or a struct with one field for each of the first fields of the index, so it may
// have fewer fields than the index.
type View struct {
	*Index
	Type  *layout.Type
	parts int
	whole bool // the type is that of the one field
}

// ViewAs returns the view of the index by a type.
func (x *Index) ViewAs(t *layout.Type) (*View, error) {
	if x.parts[0].fits(t) {
		return &View{x, t, 1, true}, nil
	}
	what := ""
	if t.Kind() == layout.Struct && len(t.Fields()) > 0 {
		fields := t.Fields()
		n := min(len(fields), len(x.parts))
		fits := len(fields) <= len(x.parts)
		for i := 0; fits && i < n; i++ {
			fits = !x.parts[i].text && x.parts[i].fits(fields[i].Type)
		}
		if fits {
			return &View{x, t, n, false}, nil
		}
		what = ", or a struct of those"
	}
	var types []string
	for _, p := range x.parts {
		types = append(types, p.typ.String())
	}
	return nil, &Error{x.Name, x.Path(), fmt.Sprintf("its field values are not of type %s; use %s%s", t, strings.Join(types, ", "), what)}
}

// fits reports whether values of a type have the same forms as those of the part.
func (p *part) fits(t *layout.Type) bool {
	if p.text {
		return t.Kind() == layout.Slice && t.Elem().Kind() == layout.Uint8
	}
	return t.OrderError() == nil && alike(p.typ, t)
}

// alike reports whether values of two types have the same forms.
func alike(a, b *layout.Type) bool {
	if a.Kind() != b.Kind() || a.Kind() >= layout.Map && a.Kind() <= layout.Ref && !layout.Same(a, b) {
		return false
	}
	switch a.Kind() {
	case layout.Binary, layout.Text:
		return a.Name() == b.Name()
	case layout.Array:
		return a.Len() == b.Len() && alike(a.Elem(), b.Elem())
	case layout.Struct:
		if len(a.Fields()) != len(b.Fields()) {
			return false
		}
		for i, f := range a.Fields() {
			if !alike(f.Type, b.Fields()[i].Type) {
				return false
			}
		}
	}
	return true
}

// Append appends the form of field values of the program, with which the forms of all their entries
// begin. If prefix is set, the last field value is only the beginning of a string.
func (v *View) Append(dst []byte, p unsafe.Pointer, prefix bool) ([]byte, error) {
	o := layout.Inside
	if prefix {
		if !v.endsInText() {
			return nil, &Error{v.Name, v.Path(), v.Type.String() + " does not end with a string: it has no prefixes"}
		}
		o = layout.Open
	}
	if v.whole && v.Index.parts[0].text {
		return layout.AppendOrderedBytes(dst, *(*[]byte)(p), o), nil
	}
	p, err := v.Type.Stored(p)
	if err != nil {
		return nil, err
	}
	return v.Type.AppendOrdered(dst, p, layout.Bounds{Hi: ^uintptr(0)}, o)
}

// Fields returns how many fields the index is on.
func (x *Index) Fields() int { return len(x.parts) }

// FieldType returns the type of the values of one field.
func (x *Index) FieldType(i int) *layout.Type { return x.parts[i].typ }

// AppendField appends the form of a value of one field. The value is in memory of the program, in
// its stored form.
func (x *Index) AppendField(dst []byte, i int, p unsafe.Pointer) ([]byte, error) {
	if x.parts[i].text {
		return layout.AppendOrderedBytes(dst, *(*[]byte)(p), layout.Inside), nil
	}
	return x.parts[i].typ.AppendOrdered(dst, p, layout.Bounds{Hi: ^uintptr(0)}, layout.Inside)
}

// endsInText reports whether field values end with a string.
func (v *View) endsInText() bool {
	if v.whole && v.Index.parts[0].text {
		return true
	}
	t := v.Type
	for t.Kind() == layout.Struct && len(t.Fields()) > 0 {
		t = t.Fields()[len(t.Fields())-1].Type
	}
	return t.IsString()
}

// Read copies the field values in a form to a variable of the program.
func (v *View) Read(form []byte, dst unsafe.Pointer) error {
	r := layout.ReadOrdered(form)
	if v.whole && v.Index.parts[0].text {
		s, err := r.Text()
		*(*[]byte)(dst) = s
		return err
	}
	return r.CopyOrdered(v.Type, dst, layout.Inside)
}

// ReadKeyOf returns the key, of a type, that begins at a place in a form. keep holds the memory of
// the key, and the form, until its Done is called.
func ReadKeyOf(t *layout.Type, form []byte, at int) (key unsafe.Pointer, keep *layout.Ordered, err error) {
	if at > len(form) {
		return nil, nil, layout.ErrOrdered
	}
	keep = layout.ReadOrdered(form[at:])
	key, err = keep.New(t, layout.Last)
	return key, keep, err
}

// Text returns the field values in a form, and the key after them, as JSON for people.
func (x *Index) Text(form []byte) (values, key string) {
	r := layout.ReadOrdered(form)
	for i, p := range x.parts {
		var b []byte
		var err error
		if p.text {
			var s []byte
			if s, err = r.Text(); err == nil {
				b = fmt.Appendf(nil, "%q", s)
			}
		} else {
			b, err = r.AppendJSON(nil, p.typ, layout.Inside)
		}
		if err != nil {
			return "(damaged)", "(damaged)"
		}
		if i > 0 {
			values += ", "
		}
		values += shorten(b)
	}
	b, err := r.AppendJSON(nil, x.Key, layout.Last)
	if err != nil {
		return values, "(damaged)"
	}
	return values, shorten(b)
}

// shorten shortens a text that is too long for a message.
func shorten(b []byte) string {
	const most = 100
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return string(b)
}

// OfTags returns the indexes that the tags in a type of values ask for: the tags of its fields, and
// of the fields of structs in it, by value and in slices. It does not follow pointers: their
// targets are values of their own, with tags of their own. It looks at no more than mostStructs
// structs.
func OfTags(value *layout.Type) []Spec {
	var list []Spec
	structs := 0
	tags(value, "", map[*layout.Type]bool{}, &structs, func(s Spec) {
		for _, o := range list {
			if o.Name == s.Name {
				return
			}
		}
		list = append(list, s)
	})
	return list
}

// mostStructs bounds the search: a few types can refer to each other in very many ways.
const mostStructs = 10_000

func tags(t *layout.Type, prefix string, on map[*layout.Type]bool, structs *int, add func(Spec)) {
	t = behind(t, func(t *layout.Type) bool { return t.Kind() == layout.Slice })
	if t.Kind() != layout.Struct || on[t] || *structs == mostStructs {
		return
	}
	*structs++
	on[t] = true
	defer delete(on, t)
	for i := range t.Fields() {
		f := &t.Fields()[i]
		for _, tag := range f.Indexes() {
			paths := []string{prefix + f.Name}
			if tag.Fields != nil {
				paths = nil
				for _, name := range tag.Fields {
					paths = append(paths, prefix+resolve(t, name))
				}
			}
			s := Spec{Paths: paths, Unique: tag.Unique}
			s.Name = s.Path()
			add(s)
		}
		tags(f.Type, prefix+f.Name+".", on, structs, add)
	}
}

// behind follows element types until one is not of a kind, for at most maxSteps, since a type can
// be a slice of itself.
func behind(t *layout.Type, is func(*layout.Type) bool) *layout.Type {
	for i := 0; i < maxSteps && t != nil && is(t); i++ {
		t = t.Elem()
	}
	return t
}

// resolve returns the name of the field of a struct that a tag names: the field with that very
// name, or else one that differs only in case.
func resolve(t *layout.Type, name string) string {
	first, rest, dotted := strings.Cut(name, ".")
	if field(t, first) != nil {
		return name
	}
	for _, f := range t.Fields() {
		if strings.EqualFold(f.Name, first) {
			if first = f.Name; dotted {
				first += "." + rest
			}
			return first
		}
	}
	return name
}

// Follow returns the spec for values of another type, whose fields may have had other names
// (everheap:"was=Old").
func (s Spec) Follow(value *layout.Type) Spec {
	paths := make([]string, len(s.Paths))
	for i, path := range s.Paths {
		names := strings.Split(path, ".")
		t := value
		for k, name := range names {
			if t = behind(t, isWay); t == nil {
				break
			}
			f := field(t, name)
			if f == nil {
				if f = renamed(t, name); f != nil {
					names[k] = f.Name
				}
			}
			if t = nil; f != nil {
				t = f.Type
			}
		}
		paths[i] = strings.Join(names, ".")
	}
	s.Paths = paths
	return s
}

// renamed returns the field of a struct that once had a name.
func renamed(t *layout.Type, name string) *layout.Field {
	if t.Kind() != layout.Struct {
		return nil
	}
	for i := range t.Fields() {
		f := &t.Fields()[i]
		for _, was := range f.Former() {
			if was == name {
				return f
			}
		}
	}
	return nil
}
