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
	fmt.Fprintf(&head, "// Package stored declares the types of what is stored in the space %s:\n//\n", layout.OneLine(filepath.Base(s.name)))
	for _, o := range list {
		fmt.Fprintf(&head, "//\t%s\t%s\n", layout.OneLine(o.Name), source.HandleLine(o.Kind, o.Key, o.Value))
	}
	return source.File(head.String()), nil
}

// TypeInfo describes a stored type to programs that do not have it. A type that contains
// itself is a cycle.
type TypeInfo = layout.Info

// FieldInfo is a field of a struct.
type FieldInfo = layout.FieldInfo

// KeyInfo describes the type of the keys; nil if there are none.
func (c *Collection) KeyInfo() *TypeInfo { return layout.InfoOf(c.key) }

// ValueInfo describes the type of the values.
func (c *Collection) ValueInfo() *TypeInfo { return layout.InfoOf(c.value) }
