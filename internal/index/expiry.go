package index

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/layout"
)

// An Expiry says when the entries of a map expire: at the time in a field of the value, or a time
// to live after they were stored. The registry has it under names that no index has: DueName is the
// tree that finds due entries, by instant and key; for a time to live, UntilName is a second tree
// that finds the instant of a key.
type Expiry struct {
	Path  string        // path of the field; "" for a time to live
	TTL   time.Duration // counted from the last time that the entry was stored
	Fixed bool          // the TTL is counted from when the key was added
}

// Names in the registry that do not name indexes.
const (
	DueName   = "\x00due"
	UntilName = "\x00until"
)

// isOwn reports whether a name in the registry does not name an index of a program.
func isOwn(name string) bool { return strings.HasPrefix(name, "\x00") }

// IsOwn reports whether a name in the registry does not name an index of a program.
func (of *Of) IsOwn() bool { return isOwn(of.Name) }

// String says when entries expire, for people.
func (x Expiry) String() string {
	switch {
	case x == Expiry{}:
		return ""
	case x.Path != "":
		return "at " + x.Path
	case x.Fixed:
		return x.TTL.String() + " after it was added"
	}
	return x.TTL.String() + " after it was set"
}

// Paths returns the expiry in the form in which the registry has it, as paths.
func (x Expiry) Paths() []string {
	if x.Path != "" {
		return []string{x.Path}
	}
	return []string{"", strconv.FormatInt(int64(x.TTL), 10), strconv.FormatBool(x.Fixed)}
}

// ExpiryOf is the inverse of Expiry.Paths; ok is false if the paths are not of an Expiry.
func ExpiryOf(paths []string) (x Expiry, ok bool) {
	if len(paths) == 1 && paths[0] != "" {
		return Expiry{Path: paths[0]}, true
	}
	if len(paths) != 3 || paths[0] != "" {
		return x, false
	}
	ttl, err := strconv.ParseInt(paths[1], 10, 64)
	x.TTL = time.Duration(ttl)
	if err == nil {
		x.Fixed, err = strconv.ParseBool(paths[2])
	}
	return x, err == nil && ttl > 0
}

// CompileDue returns the index of the instants in a field, for maps with such keys and values.
func CompileDue(path string, key, value *layout.Type) (*Index, error) {
	x, err := Compile(Spec{Name: DueName, Paths: []string{path}}, key, value)
	what := ""
	switch e := (*Error)(nil); {
	case err != nil:
		e, what = err.(*Error), err.(*Error).What
		path = e.Path
	case x.many:
		what = "it has several times"
	case x.parts[0].text || x.parts[0].typ.Kind() != layout.Time:
		what = "it is not a time.Time"
	default:
		x.due = true
		return x, nil
	}
	return nil, &Error{"of the times at which entries expire", path, what}
}

// Instant returns the time in the field of a stored value, whose addresses must lie within the
// bounds; the zero time if there is none.
func (x *Index) Instant(value unsafe.Pointer, b layout.Bounds) (time.Time, error) {
	p := value
	for _, s := range x.parts[0].steps {
		if p = unsafe.Add(p, s.offset); s.follow == stay {
			continue
		}
		at := *(*uintptr)(p)
		if at == 0 {
			return time.Time{}, nil
		}
		if !within(b, at, 1, s.elem) {
			return time.Time{}, &layout.DamageError{Type: x.Name, What: "an address outside its block"}
		}
		p = *(*unsafe.Pointer)(p)
	}
	return *(*time.Time)(p), nil
}

// Follow is Spec.Follow.
func (x Expiry) Follow(value *layout.Type) Expiry {
	if x.Path != "" {
		x.Path = Spec{Paths: []string{x.Path}}.Follow(value).Paths[0]
	}
	return x
}

// InstantSize is how many bytes the form of an instant has.
const InstantSize = 12

// AppendInstant appends the form of an instant, with which the forms in the tree of due entries
// begin.
func AppendInstant(dst []byte, t time.Time) []byte {
	dst, _ = timeType.AppendOrdered(dst, unsafe.Pointer(&t), layout.Bounds{}, layout.Inside)
	return dst
}

// ReadInstant reads the form of an instant.
func ReadInstant(form []byte) (t time.Time, err error) {
	err = layout.ReadOrdered(form).CopyOrdered(timeType, unsafe.Pointer(&t), layout.Inside)
	return t, err
}

var timeType, _ = layout.For[time.Time]()

// Times makes the forms of one entry in the two trees of a time to live.
type Times struct {
	buf []byte
	key int // length of the form of the key, with which the form in the tree by key begins
}

// Of makes the form of a stored key.
func (t *Times) Of(typ *layout.Type, key unsafe.Pointer, b layout.Bounds) (err error) {
	t.buf, err = typ.AppendOrdered(t.buf[:0], key, b, layout.Inside)
	t.key = len(t.buf)
	return err
}

// Key returns the form of the key, with which the form in the tree by key begins.
func (t *Times) Key() []byte { return t.buf[:t.key:t.key] }

// Until returns the form in the tree by key for an instant.
func (t *Times) Until(at time.Time) []byte {
	t.buf = AppendInstant(t.buf[:t.key], at)
	return t.buf
}

// Instant returns the instant in a form of the tree by key; ok is false if the form is not of the
// key.
func (t *Times) Instant(form []byte) (at time.Time, ok bool) {
	if len(form) != t.key+InstantSize || !bytes.Equal(form[:t.key], t.Key()) {
		return at, false
	}
	at, err := ReadInstant(form[t.key:])
	return at, err == nil
}

// ExpiryOfTags returns the Expiry that a tag in a type of values asks for: on a field of it, or of
// a struct inside it by value.
func ExpiryOfTags(value *layout.Type) (x Expiry, err error) {
	var paths []string
	structs := 0
	expiring(value, "", map[*layout.Type]bool{}, &structs, func(path string) { paths = append(paths, path) })
	if len(paths) > 1 {
		return x, &Error{"of the times at which entries expire", strings.Join(paths, " and "), fmt.Sprintf("%d fields are tagged everheap:\"expires\"; tag one", len(paths))}
	}
	if len(paths) == 1 {
		x.Path = paths[0]
	}
	return x, nil
}

func expiring(t *layout.Type, prefix string, on map[*layout.Type]bool, structs *int, add func(path string)) {
	if t.Kind() != layout.Struct || on[t] || *structs == mostStructs {
		return
	}
	*structs++
	on[t] = true
	defer delete(on, t)
	for i := range t.Fields() {
		f := &t.Fields()[i]
		if f.Expires() {
			add(prefix + f.Name)
		}
		expiring(f.Type, prefix+f.Name+".", on, structs, add)
	}
}
