package everheap

import (
	"reflect"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/typed"
)

// TypeOption says how to open a collection whose stored types are not the program's. Without
// one, a difference is ErrTypeChanged.
//
// With Evolve or Migrate, one transaction gives the collection the program's types and
// converts its contents: the transaction of the Tx, or one of its own. So all contents have
// the old types or all have the new ones, whatever happens, and of several processes that
// try it at once one does it. If it fails, nothing has changed; inside an Update, the Update
// can only fail then. Nothing happens if the types are the program's already.
//
// The conversion follows handles: if a handle leads to a collection of a type that has
// changed (a Map[string, User] in the values, when User has other fields), it converts that
// collection in the same transaction, and so on. If other collections refer to it as well,
// their types become wrong about it: open those with the option, too.
//
// A process that still has the old types gets ErrTypeChanged from its next operation on,
// through any handle. An open View continues in the old version, and so does ViewAt of an
// earlier checkpoint; Restore brings the old types back.
//
// A conversion takes as much room again as the collection, until the old version is
// released, and nobody else can write while it lasts. The descriptors of the old types stay
// in the space until they are collected. In a View, and with WithReadOnly, a needed
// conversion is an error that is both ErrTypeChanged and ErrReadOnly.
type TypeOption interface{ applyType(*typed.Options) }

// typeOption is a TypeOption made of a function.
type typeOption func(*typed.Options)

func (o typeOption) applyType(s *typed.Options) { o(s) }

// Evolve accepts changes of types that lose nothing but what the program removed on purpose:
//
//   - added fields of structs, which are zero, and removed fields, which are dropped, in
//     any order; but at least one field must be the same;
//   - renamed fields, if the tag of the field says so: everheap:"was=OldName", and
//     several old names as everheap:"was=Older,was=Old". A tag may stay for good. If it
//     is ambiguous, because there are fields of both names, Evolve refuses it;
//   - wider numbers, of kinds that hold every value of the old one: int8 as any signed
//     integer or float, uint8 as any wider integer or float, int32 as float64,
//     float32 as float64; int and int64 are equally wide; int64 is no float64;
//   - longer arrays, the rest of which is zero, and an array as a slice;
//   - a value as a pointer to one;
//   - other names of types, and names for types that had none.
//
// It applies at every depth, in slices, arrays and behind pointers, and to keys: their
// entries are hashed anew, and two keys that become equal are an error. Shared pointers and
// cycles keep their shape. Every other change is ErrTypeChanged, which shows the refused
// differences.
func Evolve() TypeOption { return typeOption(func(s *typed.Options) { s.Change.Evolve = true }) }

// Migrate converts stored values of type Old to type New by a function of the program. It
// applies to the keys and values of the collection, and to the parts of them, wherever the
// program has New and Old is stored.
//
// Old is the former type under any name: Migrate compares fields, unless another option has
// the very name that was stored. If Old holds handles, declare them as handles of what they
// lead to now. If New has the same fields as Old with another meaning, it must have another
// name, or nothing differs.
//
// Several options make a chain, from the first version to the second, and from that to the
// third. A collection that is stored with any of them gets to the last. Together with
// Evolve, whatever no Migrate covers evolves. An error of fn ends the conversion, nothing
// has changed, and the error is returned. fn may read the space, not write it.
func Migrate[Old, New any](fn func(old Old) (New, error)) TypeOption {
	return typeOption(func(s *typed.Options) {
		step, err := layout.NewStep(fn)
		if err != nil {
			s.Err = err
			return
		}
		s.Change.Steps = append(s.Change.Steps, step)
	})
}

// WithProgress calls fn during a conversion, about ten times a second and at the end, with
// the number of entries done and in total. The total grows when handles lead to further
// collections.
func WithProgress(fn func(done, total int)) TypeOption {
	return typeOption(func(s *typed.Options) { s.Change.Progress = fn })
}

// Register lets fields of interface types hold values of type T, as gob.Register does; T and *T are
// two types. Call it before the types are used: it holds for the process. Registered already are the
// basic types, []byte, []string, []int, []float64, []any, map[string]any, map[string]string, time.Time
// and time.Duration. A value is stored with its type, by its name in Go, such as *forum.Circle. It is
// ErrUnregistered for programs that have not registered that, and ErrTypeChanged if its type differs
// from T, unless Evolve and Migrate say how to convert it whenever it is read; other options mean
// nothing here. VALUES.md has the table. Register panics if T is an interface or has another name, or
// another type has the name.
func Register[T any](opts ...TypeOption) { RegisterName[T]("", opts...) }

// RegisterName is Register with a name that all programs agree on; a type that is renamed keeps it.
func RegisterName[T any](name string, opts ...TypeOption) {
	set, err := typeOptions(opts)
	if err == nil {
		err = layout.Register(reflect.TypeFor[T](), name, set.Change.Evolve, set.Change.Steps)
	}
	if err != nil {
		panic("everheap: Register: " + err.Error())
	}
}

// typeOptions adds up options.
func typeOptions(opts []TypeOption) (*typed.Options, error) {
	set := &typed.Options{Given: len(opts) > 0}
	for _, o := range opts {
		o.applyType(set)
	}
	return set, set.Err
}

// openTyped opens the object of a name, whose handles are of type H; what is its kind, for errors. It changes
// the object's types first if needed and allowed.
func openTyped[H any](sc Scope, what, name string, opts []TypeOption, open func(tx *engine.Tx) (format.ID, error)) (id format.ID, err error) {
	s, in, err := openOn(sc)
	var set *typed.Options
	if err == nil {
		set, err = typeOptions(opts)
	}
	if err == nil {
		id, err = set.Open(in, name, layout.For[H], open)
	}
	return id, s.wrap("opening "+what+name, err)
}

// openOn is on, but a closed handle opens nothing, even in a transaction.
func openOn(sc Scope) (*Space, engine.Scope, error) {
	s, in, err := sc.on()
	if err == nil {
		err = s.check()
	}
	return s, in, err
}
