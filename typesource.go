package everheap

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/layout"
)

// library is the import path of this package.
const library = "github.com/everheap/everheap"

// TypeSource returns a Go source file that declares the stored types of the named
// collections, or of all collections that have names; the file is not formatted by gofmt.
// The package is called stored, and its comment says which collection has which types. The
// declarations have the stored layout, tags included, and can serve as the former types of
// Migrate. Different types of the same name get a number. Errors: ErrNotFound.
func (s *Space) TypeSource(names ...string) ([]byte, error) {
	var list []edit.NamedObject
	err := s.View(func(tx *Tx) (err error) {
		list, err = tx.engine.Names()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(list, func(o edit.NamedObject) bool { return o.Name == name }) {
			return nil, s.wrap("types", fmt.Errorf("%w: the space has nothing named %q", ErrNotFound, name))
		}
	}
	if len(names) > 0 {
		list = slices.DeleteFunc(list, func(o edit.NamedObject) bool { return !slices.Contains(names, o.Name) })
	}
	slices.SortFunc(list, func(a, b edit.NamedObject) int { return cmp.Compare(a.Name, b.Name) })
	source := layout.NewSource(library)
	var head strings.Builder
	fmt.Fprintf(&head, "// Package stored declares the types of what is stored in the space %s:\n//\n", oneLine(filepath.Base(s.name)))
	for _, o := range list {
		fmt.Fprintf(&head, "//\t%s\t%s\n", oneLine(o.Name), handleText(source, o))
	}
	return assemble(head.String(), source), nil
}

// oneLine makes a name fit into a comment.
func oneLine(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// handleText returns the type of the handles of an object, on one line.
func handleText(source *layout.Source, o edit.NamedObject) string {
	kinds := map[string]layout.HandleKind{"map": layout.Map, "sorted": layout.Sorted, "list": layout.List, "ref": layout.Ref}
	kind := kinds[o.Kind]
	parts := []*layout.Type{o.Value}
	if kind == layout.Map || kind == layout.Sorted {
		parts = []*layout.Type{o.Key, o.Value}
	}
	text := source.Handle(kind, parts...)
	return strings.ReplaceAll(strings.ReplaceAll(text, "\n\t", " "), "\n", "; ")
}

// assemble puts a file together.
func assemble(head string, source *layout.Source) []byte {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("package stored\n")
	switch imports := source.Imports(); len(imports) {
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
	for _, d := range source.Declarations() {
		b.WriteString("\n" + d)
	}
	return []byte(b.String())
}

// TypeInfo describes a stored type to programs that do not have it. A type that contains
// itself is a cycle.
type TypeInfo struct {
	Name string // in Go syntax
	// Kind is bool, int, int8 … complex128, string, time.Time, struct, array, slice, pointer,
	// netip.Addr, netip.AddrPort, netip.Prefix; Map, Sorted, List or Ref for a handle; text or
	// binary for what is stored by its bytes.
	Kind   string
	Len    int         // of an array
	Key    *TypeInfo   // of the keys that a handle leads to
	Elem   *TypeInfo   // of elements, of what a pointer points at, of the values that a handle leads to
	Fields []FieldInfo // of a struct
}

// FieldInfo is a field of a struct.
type FieldInfo struct {
	Name string
	Type *TypeInfo
}

// KeyInfo describes the type of the keys; nil if there are none.
func (c *Collection) KeyInfo() *TypeInfo { return describe(c.key, map[*layout.Type]*TypeInfo{}) }

// ValueInfo describes the type of the values.
func (c *Collection) ValueInfo() *TypeInfo { return describe(c.value, map[*layout.Type]*TypeInfo{}) }

// describe describes a type and those that it is made of, each once.
func describe(t *layout.Type, seen map[*layout.Type]*TypeInfo) *TypeInfo {
	if t == nil {
		return nil
	}
	if info := seen[t]; info != nil {
		return info
	}
	info := &TypeInfo{Name: t.String(), Kind: t.Kind().String(), Len: int(t.Len())}
	seen[t] = info
	info.Key, info.Elem = describe(t.Key(), seen), describe(t.Elem(), seen)
	for _, f := range t.Fields() {
		info.Fields = append(info.Fields, FieldInfo{f.Name, describe(f.Type, seen)})
	}
	return info
}
