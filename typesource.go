package everheap

import (
	"path/filepath"

	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/untyped"
)

// library is the import path of this package.
const library = "github.com/everheap/everheap"

// TypeSource returns a Go source file that declares the stored types of the named
// collections, or of all collections that have names; the file is not formatted by gofmt.
// The package is called stored, and its comment says which collection has which types. The
// declarations have the stored layout, tags included, and can serve as the former types of
// Migrate. Different types of the same name get a number. Errors: ErrNotFound.
func (s *Space) TypeSource(names ...string) ([]byte, error) {
	var list []untyped.NamedObject
	err := s.View(func(tx *Tx) (err error) {
		list, err = untyped.Names(&tx.engine.Editor)
		return err
	})
	if err != nil {
		return nil, err
	}
	source, err := untyped.Source(list, filepath.Base(s.name), library, names)
	return source, s.wrap("types", err)
}

// TypeInfo describes a stored type to programs that do not have it. A type that contains
// itself is a cycle.
type TypeInfo = layout.Info

// FieldInfo is a field of a struct.
type FieldInfo = layout.FieldInfo

// KeyInfo describes the type of the keys; nil if there are none.
func (c *Collection) KeyInfo() *TypeInfo { return layout.InfoOf(c.of.Key) }

// ValueInfo describes the type of the values.
func (c *Collection) ValueInfo() *TypeInfo { return layout.InfoOf(c.of.Value) }
