package typetext

import (
	"fmt"
	"go/ast"
	"go/token"
	"reflect"
	"strconv"
	"strings"

	"github.com/everheap/everheap/internal/layout"
)

// predeclared are the types without a package.
var predeclared = map[string]layout.Kind{
	"bool": layout.Bool, "string": layout.String,
	"int": layout.Int, "int8": layout.Int8, "int16": layout.Int16, "int32": layout.Int32, "int64": layout.Int64, "rune": layout.Int32,
	"uint": layout.Uint, "uint8": layout.Uint8, "uint16": layout.Uint16, "uint32": layout.Uint32, "uint64": layout.Uint64, "byte": layout.Uint8,
	"float32": layout.Float32, "float64": layout.Float64, "complex64": layout.Complex64, "complex128": layout.Complex128,
}

// known are types of packages, by path and name.
var known = map[string]layout.Draft{
	"time.Time":                {Kind: layout.Time},
	"time.Duration":            {Kind: layout.Int64, Name: "time.Duration"},
	"time.Month":               {Kind: layout.Int, Name: "time.Month"},
	"time.Weekday":             {Kind: layout.Int, Name: "time.Weekday"},
	"net/netip.Addr":           {Kind: layout.Addr},
	"net/netip.AddrPort":       {Kind: layout.AddrPort},
	"net/netip.Prefix":         {Kind: layout.Prefix},
	"encoding/json.RawMessage": {Kind: layout.Slice, Name: "json.RawMessage", Elem: byteDraft},
}

// byteDraft is the type byte.
var byteDraft = &layout.Draft{Kind: layout.Uint8}

const (
	maxDepth = 500     // the nesting of a type's text
	maxParts = 1 << 16 // types to read in all: each use of an alias is read again
	maxName  = 1 << 16 // bytes of the name of a handle, which includes its arguments
)

// draft reads a type.
func (r *reader) draft(e ast.Expr) (*layout.Draft, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, errorAt(e, "flatten the type: it nests more than %d levels", maxDepth)
	}
	defer func() { r.depth-- }()
	if r.parts++; r.parts > maxParts {
		return nil, errorAt(e, "split the type: with its aliases it has more than %d parts", maxParts)
	}
	d, err := r.any(e)
	if err != nil {
		return nil, err
	}
	if _, ok := r.at[d]; !ok {
		r.at[d] = e.Pos()
	}
	return d, nil
}

// any is draft for each kind of expression.
func (r *reader) any(e ast.Expr) (*layout.Draft, error) {
	if words := r.room(e); words > 0 {
		return r.share(&layout.Draft{Kind: layout.Array, Length: uintptr(words), Elem: r.share(&layout.Draft{Kind: layout.Uint64})}), nil
	}
	switch t := e.(type) {
	case *ast.ParenExpr:
		return r.draft(t.X)
	case *ast.Ident:
		return r.ident(t)
	case *ast.SelectorExpr:
		return r.selector(t)
	case *ast.StarExpr:
		return r.made(layout.Pointer, 0, nil, t.X)
	case *ast.ArrayType:
		return r.array(t)
	case *ast.StructType:
		return r.structure(t)
	case *ast.IndexExpr, *ast.IndexListExpr:
		return r.handle(t)
	case *ast.MapType:
		return r.made(layout.Table, 0, t.Key, t.Value)
	case *ast.ChanType:
		return nil, errorAt(e, "a channel cannot be stored; keep channels in the program, and use Watch to learn of changes")
	case *ast.FuncType:
		return nil, errorAt(e, "a function cannot be stored; store the data that selects it")
	case *ast.InterfaceType: // its methods do not count: each value has its concrete type
		return r.share(&layout.Draft{Kind: layout.Interface}), nil
	}
	return nil, errorAt(e, "this is not a type")
}

// room returns the size in words of a part that cannot be stored itself; 0 if it can. Only a type
// that is stored by its own methods may have such parts.
func (r *reader) room(e ast.Expr) int {
	if !r.lenient {
		return 0
	}
	switch t := e.(type) {
	case *ast.MapType, *ast.ChanType, *ast.FuncType:
		return 1
	case *ast.InterfaceType:
		return 2
	case *ast.Ident:
		switch {
		case r.declared[t.Name] != nil:
		case t.Name == "uintptr":
			return 1
		case t.Name == "any" || t.Name == "error":
			return 2
		}
	}
	return 0
}

// ident reads the name of a declared or predeclared type.
func (r *reader) ident(id *ast.Ident) (*layout.Draft, error) {
	if d := r.declared[id.Name]; d != nil {
		return r.resolve(d)
	}
	if kind, ok := predeclared[id.Name]; ok {
		return r.share(&layout.Draft{Kind: kind}), nil
	}
	switch id.Name {
	case "uintptr":
		return nil, errorAt(id, "uintptr cannot be stored; use uint64")
	case "any":
		return r.share(&layout.Draft{Kind: layout.Interface}), nil
	case "error":
		return r.share(&layout.Draft{Kind: layout.Interface, Name: "error"}), nil
	}
	return nil, errorAt(id, "the type %s is not declared; declare it below the type of the collection, or use one of Go, such as string, int, float64 or []byte", id.Name)
}

// resolve returns the draft of a declared type.
func (r *reader) resolve(d *declaration) (*layout.Draft, error) {
	if d.draft != nil {
		return d.draft, nil
	}
	for seen := map[*declaration]bool{}; d.spec.Assign.IsValid(); {
		id, ok := d.spec.Type.(*ast.Ident)
		if seen[d] = true; !ok || r.declared[id.Name] == nil {
			return r.draft(d.spec.Type) // the aliased type may still be incomplete, so the draft is not cached
		}
		if d = r.declared[id.Name]; seen[d] {
			return nil, errorAt(d.spec, "the alias %s stands for itself", d.spec.Name.Name)
		}
	}
	if d.draft != nil {
		return d.draft, nil
	}
	d.draft = &layout.Draft{Name: d.stored}
	if other, ok := r.named[d.path+"\x00"+d.stored]; ok && other != d.draft {
		return nil, errorAt(d.spec, "two types are stored as %s; rename one", d.stored)
	}
	r.named[d.path+"\x00"+d.stored] = d.draft
	r.at[d.draft] = d.spec.Pos()
	r.number(d.draft)
	lenient := r.lenient
	r.lenient = d.coded != layout.Invalid
	u, err := r.underlying(d.spec.Type)
	r.lenient = lenient
	if err != nil {
		return nil, err
	}
	r.pending = append(r.pending, copied{d, u})
	return d.draft, nil
}

// copied is a declared type that gets the contents of another draft once that is complete.
type copied struct {
	to   *declaration
	from *layout.Draft
}

// complete completes the declared types whose underlying types were incomplete when they were read.
func (r *reader) complete() error {
	for len(r.pending) > 0 {
		var later []copied
		for _, c := range r.pending {
			if c.from.Kind == layout.Invalid {
				later = append(later, c)
				continue
			}
			d := c.to.draft
			name := d.Name
			*d = *c.from
			d.Name = name
			if c.to.coded == layout.Invalid {
				continue
			}
			if d.Kind != layout.Struct {
				return errorAt(c.to.spec, "make %s a struct: a type that is stored by its own methods is written as a struct", c.to.spec.Name.Name)
			}
			d.Kind = c.to.coded
		}
		if len(later) == len(r.pending) {
			return errorAt(later[0].to.spec, "the type %s stands for itself", later[0].to.spec.Name.Name)
		}
		r.pending = later
	}
	return nil
}

// underlying reads the type of a declaration. For a type that is stored by its own methods only the
// size counts, and its parts need not be storable.
func (r *reader) underlying(e ast.Expr) (*layout.Draft, error) {
	s, ok := e.(*ast.StructType)
	if !ok {
		return r.draft(e)
	}
	fields, err := r.fields(s)
	return &layout.Draft{Kind: layout.Struct, Fields: fields}, err
}

// selector reads a type of another package.
func (r *reader) selector(s *ast.SelectorExpr) (*layout.Draft, error) {
	pkg, ok := s.X.(*ast.Ident)
	if !ok {
		return nil, errorAt(s, "this is not a type")
	}
	if pkg.Name == r.packageName && r.declared[s.Sel.Name] != nil && r.imports[pkg.Name] == "" {
		return r.resolve(r.declared[s.Sel.Name])
	}
	for _, d := range r.declared { // by the name in its comment
		if d.stored == pkg.Name+"."+s.Sel.Name {
			return r.resolve(d)
		}
	}
	path := r.pathOf(pkg.Name)
	if path == r.library {
		switch name := s.Sel.Name; {
		case name == "ID" || name == "Version":
			return r.foreign(layout.Draft{Kind: layout.Uint64, Name: "everheap." + name}), nil
		case handles[name].args > 0:
			return nil, errorAt(s, "everheap.%s needs type arguments", name)
		}
	}
	if d, ok := known[path+"."+s.Sel.Name]; ok {
		return r.foreign(d), nil
	}
	return nil, errorAt(s, "the type %s.%s is not known here; declare a type with the same fields, as everheap types prints it", pkg.Name, s.Sel.Name)
}

// foreign returns the one draft of a known type.
func (r *reader) foreign(d layout.Draft) *layout.Draft {
	if d.Name == "" {
		return r.share(&d)
	}
	if d.Elem != nil {
		d.Elem = r.share(&layout.Draft{Kind: d.Elem.Kind})
	}
	have, ok := r.named[d.Name]
	if !ok {
		have = &d
		r.named[d.Name] = have
		r.number(have)
	}
	return have
}

// array reads the type of an array or slice.
func (r *reader) array(t *ast.ArrayType) (*layout.Draft, error) {
	if t.Len == nil {
		return r.made(layout.Slice, 0, nil, t.Elt)
	}
	lit, ok := t.Len.(*ast.BasicLit)
	if !ok || lit.Kind != token.INT {
		return nil, errorAt(t.Len, "write the length of an array as a number")
	}
	n, err := strconv.ParseUint(lit.Value, 0, 40)
	if err != nil {
		return nil, errorAt(t.Len, "an array of %s elements is too long; use a slice or a List", lit.Value)
	}
	return r.made(layout.Array, uintptr(n), nil, t.Elt)
}

// made returns the unnamed type of a kind, made of other types.
func (r *reader) made(kind layout.Kind, length uintptr, key, elem ast.Expr) (*layout.Draft, error) {
	d := &layout.Draft{Kind: kind, Length: length}
	var err error
	if key != nil {
		if d.Key, err = r.draft(key); err != nil {
			return nil, err
		}
	}
	if d.Elem, err = r.draft(elem); err != nil {
		return nil, err
	}
	return r.share(d), nil
}

// handle reads the type of a handle, whose name includes its arguments.
func (r *reader) handle(e ast.Expr) (*layout.Draft, error) {
	name, args, ok := r.handleOf(e)
	if !ok {
		return nil, errorAt(e, "only everheap.Map, Sorted, List, Ref and Dict have type arguments here; write other types out")
	}
	h := handles[name]
	if len(args) != h.args {
		return nil, errorAt(e, "everheap.%s has %d type arguments, and not %d", name, h.args, len(args))
	}
	return r.handleDraft(name, args)
}

// handleDraft returns the type of a handle with arguments.
func (r *reader) handleDraft(name string, args []ast.Expr) (*layout.Draft, error) {
	d := &layout.Draft{Kind: handles[name].layout}
	var texts []string
	for i, a := range args {
		part, err := r.draft(a)
		if err != nil {
			return nil, err
		}
		if d.Elem = part; i == 0 && len(args) == 2 {
			d.Key = part
		}
		r.left = maxName
		texts = append(texts, r.argument(part))
		if r.left <= 0 {
			return nil, errorAt(a, "give parts of the type names: the name of everheap.%s with it has more than %d bytes", name, maxName)
		}
	}
	d.Name = "everheap." + name + "[" + strings.Join(texts, ",") + "]"
	return r.share(d), nil
}

// argument returns a type as it is written in the name of a type with this argument. It subtracts the
// length from left, and returns "" once left is used up.
func (r *reader) argument(d *layout.Draft) string {
	if r.left <= 0 {
		return ""
	}
	text := r.argumentText(d)
	if d.Name != "" || d.Elem == nil && d.Fields == nil {
		r.left -= len(text)
	}
	r.left--
	return text
}

// argumentText is argument without the count.
func (r *reader) argumentText(d *layout.Draft) string {
	if d.Name != "" {
		for _, decl := range r.declared {
			if decl.draft == d {
				return decl.path + d.Name[len(packageOf(d.Name)):]
			}
		}
		for full, k := range known {
			if k.Name == d.Name {
				return full
			}
		}
		if rest, ok := strings.CutPrefix(d.Name, "everheap."); ok {
			return r.library + "." + rest
		}
		return d.Name
	}
	switch d.Kind {
	case layout.Slice:
		return "[]" + r.argument(d.Elem)
	case layout.Array:
		return fmt.Sprintf("[%d]%s", d.Length, r.argument(d.Elem))
	case layout.Pointer:
		return "*" + r.argument(d.Elem)
	case layout.Table:
		return "map[" + r.argument(d.Key) + "]" + r.argument(d.Elem)
	case layout.Interface:
		return "interface {}"
	case layout.Time:
		return "time.Time"
	case layout.Addr, layout.AddrPort, layout.Prefix:
		return "net/" + d.Kind.String()
	case layout.Struct:
		return r.structArgument(d)
	}
	return d.Kind.String()
}

// structArgument is argumentText for a struct without a name.
func (r *reader) structArgument(d *layout.Draft) string {
	if len(d.Fields) == 0 {
		return "struct {}"
	}
	var b strings.Builder
	b.WriteString("struct {")
	for i, f := range d.Fields {
		if r.left -= len(f.Name) + len(f.Tag); r.left <= 0 {
			break
		}
		if i > 0 {
			b.WriteString(";")
		}
		b.WriteString(" " + f.Name + " " + r.argument(f.Type))
		if f.Tag != "" {
			b.WriteString(" " + strconv.Quote("everheap:"+strconv.Quote(f.Tag)))
		}
	}
	b.WriteString(" }")
	return b.String()
}

// structure reads a struct type without a name.
func (r *reader) structure(s *ast.StructType) (*layout.Draft, error) {
	fields, err := r.fields(s)
	if err != nil {
		return nil, err
	}
	return r.share(&layout.Draft{Kind: layout.Struct, Fields: fields}), nil
}

// fields reads the fields of a struct.
func (r *reader) fields(s *ast.StructType) (list []layout.DraftField, err error) {
	for _, f := range s.Fields.List {
		tag := ""
		if f.Tag != nil {
			text, err := strconv.Unquote(f.Tag.Value)
			if err != nil {
				return nil, errorAt(f.Tag, "the tag is not a string")
			}
			tag = reflect.StructTag(text).Get("everheap")
		}
		t, err := r.draft(f.Type)
		if err != nil {
			return nil, err
		}
		names := f.Names
		if len(names) == 0 { // embedded: its name is that of its type
			names = []*ast.Ident{embedded(f.Type)}
			if names[0] == nil {
				return nil, errorAt(f, "only a type with a name can be embedded")
			}
		}
		for _, n := range names {
			list = append(list, layout.DraftField{Name: n.Name, Tag: tag, Type: t})
		}
	}
	return list, nil
}

// embedded returns the name of an embedded field.
func embedded(e ast.Expr) *ast.Ident {
	switch t := e.(type) {
	case *ast.Ident:
		return t
	case *ast.StarExpr:
		return embedded(t.X)
	case *ast.SelectorExpr:
		return t.Sel
	case *ast.IndexExpr:
		return embedded(t.X)
	case *ast.IndexListExpr:
		return embedded(t.X)
	}
	return nil
}

// number returns the number of a draft, by which share compares the parts of types.
func (r *reader) number(d *layout.Draft) int {
	n, ok := r.numbers[d]
	if !ok {
		n = len(r.numbers) + 1
		r.numbers[d] = n
	}
	return n
}

// share returns the one draft of an unnamed type: unnamed types with the same parts are the same
// type.
func (r *reader) share(d *layout.Draft) *layout.Draft {
	key := fmt.Sprint(d.Kind, d.Name, " ", d.Length)
	for _, part := range []*layout.Draft{d.Key, d.Elem} {
		if part != nil {
			key += fmt.Sprint(" ", r.number(part))
		}
	}
	for _, f := range d.Fields {
		key += fmt.Sprintf(" %q %q %d", f.Name, f.Tag, r.number(f.Type))
	}
	if have, ok := r.shared[key]; ok {
		return have
	}
	r.shared[key] = d
	r.number(d)
	return d
}
