package layout

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Source writes types as Go declarations. Different types that were stored under one name get
// different names.
type Source struct {
	names    map[string]string // Go names, by stored name and layout
	taken    map[string]bool
	declared []string
	stored   []string          // the stored names, in the same order
	paths    map[string]string // of the packages of types, by stored name, as far as the names of handles contain them
	depth    int               // nesting of the declarations being written
	imports  map[string]bool
	packages map[string]string // import paths by name
}

// standard has the types of the standard library that sources refer to by name.
var standard = map[string]Kind{"time.Duration": Int64, "time.Month": Int, "time.Weekday": Int}

// NewSource returns a source without declarations. library is the import path of the
// package with the handles.
func NewSource(library string) *Source {
	s := &Source{names: map[string]string{}, taken: map[string]bool{"byte": true, "any": true, "error": true, "everheap": true, "time": true, "netip": true},
		imports: map[string]bool{}, paths: map[string]string{}, packages: map[string]string{"everheap": library, "time": "time", "netip": "net/netip"}}
	for k := Bool; k < kindEnd; k++ {
		s.taken[scalarKinds[k].name] = true
	}
	return s
}

// Type returns a type as Go code uses it, and declares the types that it names.
func (s *Source) Type(t *Type) string {
	switch {
	case t.name == "":
		return s.literal(t)
	case (t.isHandle() || t.kind == Dict) && strings.HasPrefix(t.name, "everheap."):
		s.learnPaths(t.name)
		return s.literal(t)
	case t.kind == Interface && t.name == "error":
		return t.name
	case standard[t.name] == t.kind:
		s.uses("time")
		return t.name
	}
	key := t.name + "\x00" + string(t.untagged())
	if name, ok := s.names[key]; ok {
		return name
	}
	name := s.pick(t.name)
	s.names[key] = name
	i := len(s.declared)
	s.declared = append(s.declared, "")
	s.stored = append(s.stored, t.name)
	s.depth++
	s.declared[i] = fmt.Sprintf("// %s is stored as %s.\ntype %s %s\n", name, t.name, name, s.literal(t))
	switch t.kind {
	case Binary, Text:
		s.declared[i] = codedSource(name, t)
	case Interface:
		s.declared[i] = fmt.Sprintf("// %s is stored as %s.\n//\n// It is an interface: each value says its concrete type.\ntype %s any\n", name, t.name, name)
	}
	s.depth--
	return name
}

// codedSource returns the declaration of a type that holds the bytes of a coded value, with methods
// that make it coded in the same way. The space knows nothing of the original Go type and its
// methods.
func codedSource(name string, t *Type) string {
	rest := ""
	if t.size > 8 {
		rest = fmt.Sprintf("\t_    [%d]byte\n", t.size-8)
	}
	return fmt.Sprintf(`// %[1]s is stored as %[2]s, by its own method: this has the bytes.
type %[1]s struct {
	none [0]any // not field by field
	code *[]byte
%[3]s}

// Marshal%[4]s implements encoding.%[4]sMarshaler.
func (v %[1]s) Marshal%[4]s() ([]byte, error) {
	if v.code == nil {
		return nil, nil // not called for what is to be stored: this is the zero value
	}
	return *v.code, nil
}

// Unmarshal%[4]s implements encoding.%[4]sUnmarshaler.
func (v *%[1]s) Unmarshal%[4]s(b []byte) error {
	b = append([]byte{}, b...)
	v.code = &b
	return nil
}
`, name, t.name, rest, map[Kind]string{Binary: "Binary", Text: "Text"}[t.kind])
}

// uses notes that a declaration needs the package of a name.
func (s *Source) uses(name string) {
	if s.depth > 0 {
		s.imports[name] = true
	}
}

// pick returns a unique Go name for a type that was stored as name, such as
// shop.Pair[string,github.com/some/bank.Money].
func (s *Source) pick(name string) string {
	var words []string
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("[],*{};", r) || unicode.IsSpace(r) }) {
		part = part[strings.LastIndexAny(part, "./")+1:]
		part = strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				return r
			}
			return '_'
		}, part)
		words = append(words, part)
	}
	base := strings.Join(words, "_")
	if !isIdentifier(base) {
		base = "T" + base
	}
	unique := base
	for n := 2; s.taken[unique]; n++ {
		unique = base + "_" + strconv.Itoa(n)
	}
	s.taken[unique] = true
	return unique
}

// literal returns a type without its name.
func (s *Source) literal(t *Type) string {
	switch t.kind {
	case Time:
		s.uses("time")
		return "time.Time"
	case Addr, AddrPort, Prefix:
		s.uses("netip")
		return scalarKinds[t.kind].name
	case Struct:
		return s.structure(t)
	case Array:
		return fmt.Sprintf("[%d]%s", t.length, s.element(t.elem))
	case Slice:
		return "[]" + s.element(t.elem)
	case Pointer:
		return "*" + s.Type(t.elem)
	case Table:
		return "map[" + s.Type(t.key) + "]" + s.Type(t.elem)
	case Interface:
		return "any"
	case Map, Sorted, Dict:
		return s.handle(t.kind, s.Type(t.key), s.Type(t.elem))
	case List, Ref:
		return s.handle(t.kind, s.Type(t.elem))
	}
	return scalarKinds[t.kind].name
}

// element returns a type as the type of elements.
func (s *Source) element(t *Type) string {
	if t.kind == Uint8 && t.name == "" {
		return "byte"
	}
	return s.Type(t)
}

// Handle returns the type of handles of a kind.
func (s *Source) Handle(kind HandleKind, parts ...*Type) string {
	var list []string
	for _, t := range parts {
		list = append(list, s.Type(t))
	}
	return fmt.Sprintf("everheap.%s[%s]", kind, strings.Join(list, ", "))
}

func (s *Source) handle(kind HandleKind, parts ...string) string {
	s.uses("everheap")
	return fmt.Sprintf("everheap.%s[%s]", kind, strings.Join(parts, ", "))
}

// structure returns a struct type. It adds blank fields that take room where the compiler would
// otherwise lay out the fields differently.
func (s *Source) structure(t *Type) string {
	if len(t.fields) == 0 && t.size == 0 && t.align == 1 {
		return "struct{}"
	}
	var b strings.Builder
	b.WriteString("struct {\n")
	end, align := uintptr(0), uintptr(1)
	for i := range t.fields {
		align = max(align, t.fields[i].Type.align)
	}
	if t.align > align {
		fmt.Fprintf(&b, "\t_ [0]uint%d\n", 8*t.align)
	}
	for i := range t.fields {
		f := &t.fields[i]
		if f.Offset > alignUp(end, f.Type.align) {
			fmt.Fprintf(&b, "\t_ [%d]byte\n", f.Offset-end)
		}
		fmt.Fprintf(&b, "\t%s %s", f.Name, s.Type(f.Type))
		if f.Tag != "" {
			tag := "everheap:" + strconv.Quote(f.Tag)
			if strconv.CanBackquote(tag) {
				b.WriteString(" `" + tag + "`")
			} else {
				b.WriteString(" " + strconv.Quote(tag))
			}
		}
		b.WriteString("\n")
		end = f.Offset + f.Type.size
	}
	natural := end
	if n := len(t.fields); n > 0 && end > 0 && t.fields[n-1].Type.size == 0 {
		natural++ // the compiler adds room after a last field of size zero
	}
	if t.size != alignUp(natural, t.align) {
		fmt.Fprintf(&b, "\t_ [%d]byte\n", t.size-end)
	}
	b.WriteString("}")
	return b.String()
}

// qualified matches a type with its package's path in the name of a handle.
var qualified = regexp.MustCompile(`([^\s\[\],*;{}"]+)/([^\s\[\],*;{}"/.]+)\.([^\s\[\],*;{}"/.]+)`)

// learnPaths notes the packages' paths in the name of a handle.
func (s *Source) learnPaths(handle string) {
	for _, m := range qualified.FindAllStringSubmatch(handle, -1) {
		s.paths[m[2]+"."+m[3]] = m[1] + "/" + m[2]
	}
}

// Declarations returns the declarations, in the order in which the types were first
// used. Their comments give the stored names, and the paths of packages where names of handles
// contain them.
func (s *Source) Declarations() []string {
	list := slices.Clone(s.declared)
	for i, name := range s.stored {
		base, _, _ := strings.Cut(name, "[")
		if path := s.paths[base]; path != "" {
			list[i] = strings.Replace(list[i], " is stored as "+name, " is stored as "+name+", of "+path, 1)
		}
	}
	return list
}

// Imports returns the paths of the packages that the declarations use.
func (s *Source) Imports() (paths []string) {
	for name := range s.imports {
		paths = append(paths, s.packages[name])
	}
	slices.Sort(paths)
	return paths
}

// OneLine puts a name on one line, for a comment.
func OneLine(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// HandleLine returns the type of the handles of an object of a kind, such as map, on one line.
func (s *Source) HandleLine(kind string, key, value *Type) string {
	k := map[string]HandleKind{"map": Map, "sorted": Sorted, "list": List, "ref": Ref}[kind]
	parts := []*Type{value}
	if k == Map || k == Sorted {
		parts = []*Type{key, value}
	}
	return strings.ReplaceAll(strings.ReplaceAll(s.Handle(k, parts...), "\n\t", " "), "\n", "; ")
}

// File returns a source file of the package stored with all declarations; head is its comment.
func (s *Source) File(head string) []byte {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("package stored\n")
	switch imports := s.Imports(); len(imports) {
	case 0:
	case 1:
		fmt.Fprintf(&b, "\nimport %q\n", imports[0])
	default: // the standard library first
		slices.SortFunc(imports, func(a, b string) int {
			return cmp.Or(cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), cmp.Compare(a, b))
		})
		b.WriteString("\nimport (\n")
		for i, path := range imports {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "\t%q\n", path)
		}
		b.WriteString(")\n")
	}
	for _, d := range s.Declarations() {
		b.WriteString("\n" + d)
	}
	return []byte(b.String())
}
