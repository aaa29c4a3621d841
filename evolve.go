package everheap

import (
	"errors"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// TypeOption says how a collection is opened whose stored types are not the program's.
// Without one, a difference is ErrTypeChanged.
//
// With Evolve or Migrate the collection gets the program's types, and its contents are
// converted, in one transaction: that of the Tx, or one of its own. So they are all of
// the old types or all of the new ones, whatever happens, and of several processes that
// do it at once one does it. If it fails, nothing has changed; inside an Update, the
// Update can only fail then. Nothing is done where the types are the program's already.
//
// What the collection refers to by handles goes with it: each collection that handles
// of a type lead to which has changed (a Map[string, User] in the values, when User has
// other fields) is converted in the same transaction, and so on. Where others refer to
// it as well, their types become wrong about it: open those with the option, too.
//
// A process that still has the old types gets ErrTypeChanged from its next operation
// on, through whichever handle; a View that is open goes on in the old version. So does
// ViewAt of a checkpoint made before; after Restore the old types are back.
//
// A conversion takes as much room again as the collection, until the old version is let
// go, and while it lasts nobody else can write. The descriptors of the old types stay
// in the space until they are collected. In a View, and with WithReadOnly, what would
// have to be converted is an error that is both ErrTypeChanged and ErrReadOnly.
type TypeOption interface{ applyType(*typeSettings) }

// typeSettings is what the options add up to.
type typeSettings struct {
	change engine.TypeChange
	err    error // a type of a Migrate cannot be stored
}

// typeOption is a TypeOption made of a function.
type typeOption func(*typeSettings)

func (o typeOption) applyType(s *typeSettings) { o(s) }

// Evolve accepts changes of types that lose nothing but what was taken out on purpose:
//
//   - added fields of structs, which are zero, and fields that are gone, which are
//     dropped; in another order or not; but some field must be the same;
//   - renamed fields, if the tag of the field says so: everheap:"was=OldName", and
//     several old names as everheap:"was=Older,was=Old". A tag may stay there for good.
//     Where it could mean two things, because there are fields of both names, it is
//     refused;
//   - wider numbers, of kinds that hold every value of the old one: int8 as any signed
//     integer or float, uint8 as any wider integer or float, int32 as float64,
//     float32 as float64; int and int64 are as wide as each other; int64 is no float64;
//   - longer arrays, the rest of which is zero, and an array as a slice;
//   - a value as a pointer to one;
//   - other names of types, and named types of what had none.
//
// It holds at every depth, in slices, arrays and behind pointers, and for keys: their
// entries are hashed anew, and two keys that become equal are an error. Pointers that
// were shared or made a cycle still do. Everything else is ErrTypeChanged, and says
// which differences are refused.
func Evolve() TypeOption { return typeOption(func(s *typeSettings) { s.change.Evolve = true }) }

// Migrate makes values of type New from stored values of type Old by a function of the
// program. That applies to the keys and the values of the collection, and to the parts
// that they consist of, wherever the program has New and Old is stored.
//
// Old is the former type under whatever name: what is compared are its fields, unless
// there is an option with the very name that was stored. If Old holds handles, they are
// declared as handles of what they lead to now. If New has the same fields as Old, and
// only they mean something else, it must have another name, or nothing differs.
//
// Several options make a chain: from the first version to the second, and from that to
// the third. A collection that is stored with any of them gets there. With Evolve
// besides, what no Migrate is for evolves. An error of fn ends it, nothing has changed,
// and the error is returned. Within fn the space can be read, not written.
func Migrate[Old, New any](fn func(old Old) (New, error)) TypeOption {
	return typeOption(func(s *typeSettings) {
		step, err := layout.NewStep(fn)
		if err != nil {
			s.err = err
			return
		}
		s.change.Steps = append(s.change.Steps, step)
	})
}

// WithProgress calls fn while a collection is converted, about ten times a second, and
// at the end: done of total entries. The total grows when handles lead to further
// collections.
func WithProgress(fn func(done, total int)) TypeOption {
	return typeOption(func(s *typeSettings) { s.change.Progress = fn })
}

// openTyped opens an object whose handles are of type H, and changes its types first if
// it must and may.
func openTyped[H any](sc Scope, op, name string, opts []TypeOption, open func(s *Space, tx *Tx) (format.ID, error)) (format.ID, error) {
	s, tx := sc.scope()
	if s.closed.Load() {
		return 0, s.wrap(op, ErrClosed)
	}
	var set typeSettings
	for _, o := range opts {
		o.applyType(&set)
	}
	if set.err != nil {
		return 0, s.wrap(op, set.err)
	}
	id, err := open(s, tx)
	if len(opts) == 0 || !errors.Is(err, ErrTypeChanged) {
		return id, s.wrap(op, err)
	}
	handle, err := layout.For[H]()
	switch {
	case err != nil:
	case tx != nil:
		err = tx.engine.ChangeTypes(name, handle, &set.change)
	default:
		err = s.engine.ChangeTypes(name, handle, &set.change, s.durability == Durable)
	}
	if err == nil {
		id, err = open(s, tx)
	}
	return id, s.wrap(op, err)
}
