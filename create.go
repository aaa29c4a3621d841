package everheap

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/typed"
	"github.com/everheap/everheap/internal/typetext"
	"github.com/everheap/everheap/internal/untyped"
)

// SpecError says what is wrong with the text of a type, and where. It is ErrUnstorable.
type SpecError struct {
	Line, Column int // from 1; the column counts bytes
	What         string
}

// Error implements error.
func (e *SpecError) Error() string {
	return fmt.Sprintf("the type, line %d, column %d: %s", e.Line, e.Column, e.What)
}

// Is makes the error ErrUnstorable.
func (e *SpecError) Is(target error) bool { return target == ErrUnstorable }

// Create makes an empty collection of a type that is given as text in Go syntax, for programs
// without its Go types: map[K]V, sorted[K]V, []T for a list, or *T for a single value, which is
// zero; and, below, the declarations of the types that it names:
//
//	map[string]User
//
//	type User struct {
//		Name string
//		Tags []string
//	}
//
// What the Go types give is stored, byte for byte. So a Go program opens the collection with
// its own types, if those have the same names: a type that is declared so is main.User. The
// comment of the declaration can say another name, as TypeSource prints it: "User is stored as
// forum.User." A source file of TypeSource is a type as well: that which its package comment
// gives for the name.
//
// Errors: *SpecError, with the place; ErrExists if there is a collection with the name;
// ErrReadOnly, ErrNoSpace.
func (s *Space) Create(name, spec string) (*Collection, error) { return create(s, name, spec, false) }

// Create is Space.Create in the transaction.
func (tx *Tx) Create(name, spec string) (*Collection, error) { return create(tx, name, spec, false) }

// OpenCollection returns the collection with a name. It creates one of the type that spec gives
// if there is none and sc can write: see Space.Create. A collection of another type is
// ErrTypeChanged, with the difference.
func OpenCollection(sc Scope, name, spec string) (*Collection, error) {
	return create(sc, name, spec, true)
}

// NewCollection makes an empty collection without a name, of a type that is given as text: see
// Space.Create. It lives while something refers to it; if nothing does when its transaction
// ends, it may vanish.
func (tx *Tx) NewCollection(spec string) (*Collection, error) {
	var id format.ID
	handle, err := parseSpec("", spec)
	if err == nil {
		id, err = tx.engine.NewStored(handle)
	}
	if err != nil {
		return nil, tx.space.wrap("creating a collection", err)
	}
	return tx.CollectionOf(ID(id))
}

// create makes a collection, or opens the existing one if open is set.
func create(sc Scope, name, spec string, open bool) (*Collection, error) {
	s, in, closed := openOn(sc)
	handle, err := parseSpec(name, spec)
	if err = cmp.Or(err, closed); err != nil {
		return nil, s.wrap("creating "+name, err)
	}
	known := func() (*layout.Type, error) { return handle, nil }
	id, err := new(typed.Options).Open(in, name, known, func(tx *engine.Tx) (format.ID, error) { return tx.Create(name, handle, open) })
	if err != nil {
		return nil, s.wrap("creating "+name, err)
	}
	of, err := untyped.Made(name, id, handle)
	return &Collection{s, of}, err
}

// parseSpec reads the type of a collection.
func parseSpec(name, spec string) (*layout.Type, error) {
	c, err := typetext.Parse(spec, name, library)
	if e := (*typetext.Error)(nil); errors.As(err, &e) {
		return nil, &SpecError{e.Line, e.Column, e.What}
	}
	if err != nil {
		return nil, err
	}
	return c.Handle, nil
}

// EvolveCollection gives a collection the type of the text spec (see Space.Create), and converts
// its contents, as an open with Evolve does. It changes nothing if the type is that already.
// Errors: ErrTypeChanged if the difference is none that Evolve accepts, and as Space.Create.
func (s *Space) EvolveCollection(name, spec string, opts ...TypeOption) error {
	handle, err := parseSpec(name, spec)
	if err == nil {
		err = s.check()
	}
	var set *typed.Options
	if err == nil {
		set, err = typeOptions(append([]TypeOption{Evolve()}, opts...))
	}
	if err == nil {
		err = set.Evolve(s.engine.Alone(s.durability == Durable), name, handle)
	}
	return s.wrap("evolving "+name, err)
}

// Differences returns how the stored types of a collection differ from the type of the text
// spec, one line each, with what EvolveCollection would do: "+ Mail string  new, zero"; a line
// that begins with "!" is one that it refuses. It is empty if there is no difference. Errors:
// ErrNotFound, ErrTypeChanged if the collection is one of another kind, and *SpecError.
func (s *Space) Differences(name, spec string) (lines []string, err error) {
	handle, err := parseSpec(name, spec)
	if err == nil {
		err = s.View(func(tx *Tx) error {
			c, err := tx.Collection(name)
			if err == nil {
				lines, err = c.of.Differences(handle)
			}
			return err
		})
	}
	return lines, s.wrap("comparing "+name, err)
}

// DropCollection removes the name of a collection, and reports whether there was one. What no other
// name and no handle in a value leads to is collected some time later, with all that it
// holds; until then, handles of programs work.
func DropCollection(sc Scope, name string) (removed bool, err error) {
	err = editIn(sc, "dropping "+name, func(tx *engine.Tx) (err error) { removed, err = tx.RemoveName(name); return err })
	return removed, err
}

// RenameCollection gives a collection another name. Handles stay as they are. Errors:
// ErrNotFound, and ErrExists if there is a collection with the new name.
func RenameCollection(sc Scope, from, to string) error {
	return editIn(sc, "renaming "+from, func(tx *engine.Tx) error { return tx.Rename(from, to) })
}
