package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// handleKinds are the kinds of objects that handles refer to, and what they are
// called.
var handleKinds = []struct {
	handle layout.HandleKind
	kind   format.Kind
	name   string
}{
	{layout.Map, format.KindMap, "map"},
	{layout.Sorted, format.KindSorted, "sorted"},
	{layout.List, format.KindList, "list"},
	{layout.Ref, format.KindValue, "ref"},
}

// kindName returns what objects of a kind are called.
func kindName(k format.Kind) string {
	for _, h := range handleKinds {
		if h.kind == k {
			return h.name
		}
	}
	return k.String()
}

// called is kindName for messages.
func called(k format.Kind) string {
	if k == format.KindSorted {
		return "sorted map"
	}
	return kindName(k)
}

// openNamed returns the ID of the object with a name. If it is there, bind compares
// it with what the program expects; else create makes it, if the transaction writes.
func (tx *Tx) openNamed(name string, bind func(id format.ID) error, create func() (format.ID, error)) (format.ID, error) {
	if err := tx.Err(); err != nil {
		return 0, err
	}
	index, found, err := tx.Named(name)
	if err != nil {
		return 0, err
	}
	if found {
		id := format.MakeID(tx.sp.header.Tag, index)
		err := bind(id)
		if e := (*TypeError)(nil); errors.As(err, &e) {
			e.Name = name
		}
		return id, err
	}
	if tx.write == nil {
		return 0, fmt.Errorf("%w: the space has nothing named %q, and nothing may be created here", ErrNotFound, name)
	}
	if err := tx.beginChange(); err != nil {
		return 0, err
	}
	defer tx.endChange()
	id, err := create()
	if err != nil {
		return 0, err
	}
	return id, tx.enroll(tx.state.Catalog, name, id.Index())
}

// openNamed opens in a transaction of its own: a reading one if the object is there.
func (sp *Space) openNamed(open func(tx *Tx) (format.ID, error)) (id format.ID, err error) {
	do := func(tx *Tx) (err error) {
		id, err = open(tx)
		return err
	}
	err = sp.look(do)
	if errors.Is(err, ErrNotFound) && !sp.readOnly {
		if r := sp.Resumption(); r != nil {
			err = r.join(false, do)
		} else {
			_, err = sp.change(context.Background(), do)
		}
	}
	if err != nil {
		return 0, err
	}
	return id, nil
}

// objectError says what it means that a handle leads to no object of its kind.
func (tx *Tx) objectError(id format.ID, err error) error {
	var kind *table.KindError
	switch {
	case errors.Is(err, table.ErrNoObject):
		return fmt.Errorf("%w: the object %016x does not exist (any more)", ErrNotFound, uint64(id))
	case errors.As(err, &kind):
		return &TypeError{Kind: ErrTypeChanged, Lines: []string{
			"  stored:  a " + called(kind.Got),
			"  program: a " + called(kind.Want)}}
	}
	return err
}

// otherSpace is the error for a handle of another space.
func otherSpace(id format.ID) error {
	return fmt.Errorf("%w: the object %016x is of another space", ErrDangling, uint64(id))
}

// usable returns an error if the transaction has ended, or if a handle cannot be one
// of this space.
func (tx *Tx) usable(id format.ID) error {
	if err := tx.Err(); err != nil {
		return err
	}
	switch {
	case id.Tag() == tx.sp.header.Tag:
		return nil
	case id == 0:
		return ErrNilHandle
	}
	return otherSpace(id)
}
