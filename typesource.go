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
