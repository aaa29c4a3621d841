package layout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"
)

// A field of an interface type can hold values of any concrete type that the program has registered.
// Go's interface is two words that have a meaning in one process only. So the stored value differs
// from the program's value (LY9): it is coded, as a word that is 0 for nil, or the address of a coded
// part. Its bytes are an envelope: the name by which the concrete type is registered, the descriptor
// of that type, and the value, detached.
//
//	4 bytes  length of the name        4 bytes  length of the descriptor
//	the name, the descriptor, zeros up to a multiple of 8 bytes, the detached value
//
// Why each envelope contains the descriptor. There are two other designs. The type of the collection
// could list the concrete types: but then registering another concrete type would change the type of
// every collection that could hold it, in every program, and a program that lacks one of the concrete
// types could not open them. Or the value could refer to a type that the space stores: but then its
// bytes would mean nothing without the space, and journals, backups, salvage and watchers would need
// the space to read a value. With the descriptor in the envelope, the type of a field says only that
// it is an interface. A program without the concrete type can check a value, follow its handles and
// print it, and writes it back unchanged. The price is the bytes: six for an int; for a struct its
// name and the names of its fields.
//
// A concrete value is a value by itself. A part that it shares by pointers with the rest of the value
// is stored twice, as with maps, and a cycle through an interface is refused. When the program has
// registered another type by the name, the value is converted as it is read (Registered.convert).
//
// Reading copies the value once for each envelope around it; therefore envelopes nest at most
// maxEnveloped deep.

const (
	envelopeHead   = 8
	maxEnveloped   = 500     // envelopes in envelopes
	maxTypeName    = 1 << 12 // bytes of the name of a concrete type
	maxDescriptors = 1 << 12 // descriptors kept decoded, and names remembered
	maxResealed    = 1 << 28 // bytes that interfaces of one value share
)

var (
	// ErrEnveloped: interfaces contain each other too deeply.
	ErrEnveloped = errors.New("everheap: value has interfaces in interfaces, more than 500 deep; use pointers to concrete types, or a List")

	// ErrCyclicInterface: a value contains itself by way of an interface.
	ErrCyclicInterface = errors.New("everheap: value contains itself by way of an interface; use pointers to concrete types, or a Ref")

	// ErrResealed: interfaces share data that is stored once for each of them, and the copies are too
	// many bytes.
	ErrResealed = errors.New("everheap: what several interfaces of the value share takes more than 256 MiB, as it is stored once for each; use pointers to concrete types, or a Ref")
)

// ConcreteError says that the program cannot store or read a value in an interface: it has not
// registered the concrete type, or has registered a different one.
type ConcreteError struct {
	Interface string   // the type of the field
	Concrete  string   // when storing, the program's type; when reading, its registered name
	What      string   // what is wrong and what to do, as the rest of a sentence
	Lines     []string // if not nil: how the stored type differs from the registered one
}

// Error names the concrete type, and says what to do.
func (e *ConcreteError) Error() string {
	return "everheap: a value of type " + e.Concrete + " in a field of type " + e.Interface + " " + e.What
}

// Registered is a concrete type that interfaces may hold. It is immutable.
type Registered struct {
	name     string
	rt       reflect.Type
	evolve   bool
	steps    []*Step
	converts *sync.Map // *Conversion by the stored *Type
}

// registry has the concrete types of the program, and the foreign ones that it has met.
var registry = struct {
	sync.RWMutex
	names       map[string]*Registered
	types       map[reflect.Type]*Registered
	descriptors map[string]*Type // by the stored form
	foreign     map[string]*Type // types met in values without their Go types, by name
}{names: map[string]*Registered{}, types: map[reflect.Type]*Registered{}, descriptors: map[string]*Type{}, foreign: map[string]*Type{}}

// Go's own types are registered: most values of an any have such a type.
func init() {
	for name, rt := range map[string]reflect.Type{
		"[]byte": reflect.TypeFor[[]byte](), "[]string": reflect.TypeFor[[]string](), "[]int": reflect.TypeFor[[]int](), "[]float64": reflect.TypeFor[[]float64](),
		"[]any": reflect.TypeFor[[]any](), "map[string]any": reflect.TypeFor[map[string]any](), "map[string]string": reflect.TypeFor[map[string]string](),
		"bool": reflect.TypeFor[bool](), "int": reflect.TypeFor[int](), "int8": reflect.TypeFor[int8](), "int16": reflect.TypeFor[int16](), "int32": reflect.TypeFor[int32](), "int64": reflect.TypeFor[int64](),
		"uint": reflect.TypeFor[uint](), "uint8": reflect.TypeFor[uint8](), "uint16": reflect.TypeFor[uint16](), "uint32": reflect.TypeFor[uint32](), "uint64": reflect.TypeFor[uint64](),
		"float32": reflect.TypeFor[float32](), "float64": reflect.TypeFor[float64](), "complex64": reflect.TypeFor[complex64](), "complex128": reflect.TypeFor[complex128](),
		"string": reflect.TypeFor[string](), "time.Time": timeType, "time.Duration": reflect.TypeFor[time.Duration](),
	} {
		if err := Register(rt, name, false, nil); err != nil {
			panic(err)
		}
	}
}

// Register lets interfaces hold values of a concrete type, which is stored under the name; "" stands
// for the name in Go, such as *forum.User. evolve and steps say how to read values that were stored
// with another type of that name. Registering a type again has no effect, unless evolve or steps are
// given. Errors: the type is an interface, or has another name, or another type has the name.
func Register(rt reflect.Type, name string, evolve bool, steps []*Step) error {
	if name == "" {
		name = rt.String()
	}
	switch {
	case rt.Kind() == reflect.Interface:
		return fmt.Errorf("%s is an interface; register the concrete types of its values", rt)
	case len(name) > maxTypeName || !utf8.ValidString(name):
		return fmt.Errorf("the name of %s has more than %d bytes or is not UTF-8; give it another name", rt, maxTypeName)
	}
	registry.Lock()
	defer registry.Unlock()
	switch old, of := registry.names[name], registry.types[rt]; {
	case old != nil && old.rt != rt:
		return fmt.Errorf("%s and %s would both be stored as %q; give one of them a name of its own", old.rt, rt, name)
	case of != nil && of.name != name:
		return fmt.Errorf("%s is registered as %q and as %q; a type has one name", rt, of.name, name)
	case of != nil && !evolve && len(steps) == 0:
		return nil
	}
	r := &Registered{name, rt, evolve, steps, new(sync.Map)}
	registry.names[name], registry.types[rt] = r, r
	return nil
}

func registeredAs(rt reflect.Type) *Registered {
	registry.RLock()
	defer registry.RUnlock()
	return registry.types[rt]
}

func registeredName(name string) *Registered {
	registry.RLock()
	defer registry.RUnlock()
	return registry.names[name]
}

// isImplemented reports whether a registered type implements an interface.
func isImplemented(rt reflect.Type) bool {
	registry.RLock()
	defer registry.RUnlock()
	for of := range registry.types {
		if of.Implements(rt) {
			return true
		}
	}
	return false
}

// descriptorOf returns the type whose stored form is b. The error is a *DamageError.
func descriptorOf(b []byte) (*Type, error) {
	registry.RLock()
	t := registry.descriptors[string(b)]
	registry.RUnlock()
	if t != nil {
		return t, nil
	}
	t, err := Decode(b)
	if err != nil {
		return nil, err
	}
	registry.Lock()
	defer registry.Unlock()
	if have := registry.descriptors[string(b)]; have != nil {
		return have, nil
	}
	if len(registry.descriptors) >= maxDescriptors {
		clear(registry.descriptors)
	}
	registry.descriptors[string(b)] = t
	return t, nil
}

// learn remembers the type of a name, for a program that prints a value and later parses one like it.
func learn(name string, t *Type) {
	registry.RLock()
	have := registry.foreign[name]
	registry.RUnlock()
	if have == t {
		return
	}
	registry.Lock()
	defer registry.Unlock()
	if len(registry.foreign) >= maxDescriptors {
		clear(registry.foreign)
	}
	registry.foreign[strings.Clone(name)] = t
}

// concrete returns the type of a name in this program: the registered type, or the type that the
// program met last under that name; nil if it knows neither. The error is that of a registered type
// that cannot be stored.
func concrete(name string) (*Type, error) {
	if r := registeredName(name); r != nil {
		return Of(r.rt)
	}
	registry.RLock()
	defer registry.RUnlock()
	return registry.foreign[name], nil
}

// KnowsConcrete reports whether the program knows a concrete type of that name: registered, or met in
// a value without its Go type.
func KnowsConcrete(name string) bool {
	t, err := concrete(name)
	return t != nil || err != nil
}

// UnknownConcrete returns the concrete type that ParseJSON or ParseCompact did not know, if err says
// so, else "".
func UnknownConcrete(err error) string {
	if e := (*JSONError)(nil); errors.As(err, &e) {
		return e.Unknown
	}
	if e := (*CompactError)(nil); errors.As(err, &e) {
		return e.Unknown
	}
	return ""
}

// fillInterface completes the type of an interface.
func (c *compiler) fillInterface(t *Type, rt reflect.Type) error {
	if !isImplemented(rt) {
		return c.refuse(rt, "call everheap.Register for its concrete types first: no registered type implements it")
	}
	if t.kind = Interface; t.name == "" {
		t.name = rt.Name() // error has no package
	}
	return nil
}

// envelope is an envelope that was opened. It refers to its bytes.
type envelope struct {
	name  string
	typ   *Type // decoded: it has no Go type
	bytes []byte
	image []byte // the detached value
}

// openEnvelope returns the parts of an envelope; it does not check the value. It accepts any bytes;
// what says what is wrong with them, or is "".
func openEnvelope(b []byte) (e envelope, what string) {
	if len(b) < envelopeHead {
		return e, "an interface without a type"
	}
	name, size := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	end := envelopeHead + name + size
	at := (end + 7) &^ 7
	if name == 0 || name > maxTypeName || at > uint64(len(b)) {
		return e, "an interface with a type that is cut off"
	}
	for _, c := range b[end:at] {
		if c != 0 {
			return e, "an interface with bytes between type and value"
		}
	}
	if !utf8.Valid(b[envelopeHead:][:name]) {
		return e, "an interface with a type whose name is not UTF-8"
	}
	e.name = unsafe.String(&b[envelopeHead], int(name))
	e.bytes, e.image = b[envelopeHead+name:end], b[at:]
	t, err := descriptorOf(e.bytes)
	if err != nil {
		return e, "an interface with a damaged type: " + err.Error()
	}
	e.typ = t
	return e, ""
}

// sealed returns an envelope for a value of t that has size bytes detached, and the part of it for
// those bytes, which is still zero.
func sealed(name string, t *Type, size uintptr) (b, image []byte) {
	descriptor := t.Encode()
	at := alignUp(envelopeHead+uintptr(len(name)+len(descriptor)), 8)
	words := make([]uint64, (at+size+7)/8)
	b = bytesAt(unsafe.Pointer(unsafe.SliceData(words)), at+size)
	binary.LittleEndian.PutUint32(b, uint32(len(name)))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(descriptor)))
	copy(b[envelopeHead+copy(b[envelopeHead:], name):], descriptor)
	return b, b[at:]
}

// nesting knows the interfaces around the value that is being sealed, and all interfaces met so far.
type nesting struct {
	path     map[mention]bool // the interfaces around the current value
	met      map[mention]bool
	resealed int // bytes of the interfaces that were met again
}

// mention is what an interface holds: the type and the word of the value.
type mention struct {
	rt   reflect.Type
	data unsafe.Pointer
}

// seal returns the envelope of the variable of the program at p; nil if the interface is nil.
func (m *measurer) seal(t *Type, p unsafe.Pointer) ([]byte, error) {
	if t.rt == nil {
		return nil, errNoGoType
	}
	v := reflect.New(t.rt) // p may be on a stack
	t.assign(v.UnsafePointer(), p)
	data := *(*unsafe.Pointer)(unsafe.Add(v.UnsafePointer(), 8))
	in := v.Elem().Elem()
	if !in.IsValid() {
		return nil, nil
	}
	r := registeredAs(in.Type())
	if r == nil {
		return nil, &ConcreteError{Interface: t.String(), Concrete: in.Type().String(), What: "cannot be stored: the type is not registered; call everheap.Register[" + in.Type().String() + "]() first"}
	}
	typ, err := Of(r.rt)
	if err != nil {
		return nil, err
	}
	c := reflect.New(r.rt)
	c.Elem().Set(in)
	if !typ.coded { // it contains no interfaces
		return typ.sealAs(r.name, c.UnsafePointer(), &measurer{})
	}
	if m.nest == nil {
		m.nest = &nesting{path: map[mention]bool{}, met: map[mention]bool{}}
	}
	n, at := m.nest, mention{r.rt, data}
	switch {
	case n.path[at]:
		return nil, ErrCyclicInterface
	case len(n.path) >= maxEnveloped:
		return nil, ErrEnveloped
	}
	n.path[at] = true
	b, err := typ.sealAs(r.name, c.UnsafePointer(), &measurer{nest: n})
	delete(n.path, at)
	if n.met[at] {
		if n.resealed += len(b); n.resealed > maxResealed {
			return nil, ErrResealed
		}
	}
	n.met[at] = true
	return b, err
}

// sealAs returns the envelope of the variable of the program at p.
func (t *Type) sealAs(name string, p unsafe.Pointer, m *measurer) ([]byte, error) {
	m.limit, m.b, m.program = maxOwned, everywhere, true
	if err := t.measureAll(m, p); err != nil {
		return nil, err
	}
	fixed := alignUp(t.size, 8)
	b, image := sealed(name, t, fixed+m.n)
	if len(image) == 0 {
		return b, nil
	}
	// A read view that begins at 1, as in DetachTo.
	err := t.flatten(unsafe.Pointer(&image[0]), 1, 0, fixed, m.n, p, m.codesOr())
	return b, err
}

// codesOr returns the measured codes, and never nil, which would mean a stored value.
func (m *measurer) codesOr() *codes {
	if m.codes == nil {
		return &codes{}
	}
	return m.codes
}

// resealed returns the envelope of a value that is in its stored form. The error is a *DamageError.
func resealed(name string, t *Type, p unsafe.Pointer, b Bounds) ([]byte, error) {
	n, err := t.DetachedSize(p, b)
	if err != nil {
		return nil, err
	}
	made, image := sealed(name, t, uintptr(n))
	return made, t.DetachTo(image, p, b)
}

// value returns the value of an envelope. Its parts lie within the envelope; the contents of inner
// envelopes are not checked.
func (e *envelope) value() (*Detached, error) { return e.typ.attach(e.image, nil, false) }

// unseal stores the value of an envelope in the interface at the address to. It does not keep the address.
func (c *copier) unseal(t *Type, to unsafe.Pointer, b []byte) error {
	e, what := openEnvelope(b)
	if what != "" {
		return &DamageError{t.String(), 0, what}
	}
	if c.nested >= maxEnveloped {
		return &DamageError{t.String(), 0, "interfaces nest too deeply"}
	}
	r := registeredName(e.name)
	if r == nil {
		return &ConcreteError{Interface: t.String(), Concrete: strings.Clone(e.name), What: "cannot be read: no type of that name is registered; call everheap.Register, or everheap.RegisterName"}
	}
	if !r.rt.Implements(t.rt) {
		return &ConcreteError{Interface: t.String(), Concrete: r.name, What: "cannot be read: " + r.rt.String() + ", which is registered by that name, does not implement the interface"}
	}
	typ, err := Of(r.rt)
	if err != nil {
		return err
	}
	d, err := e.value()
	if err != nil {
		return err
	}
	if !bytes.Equal(e.bytes, typ.Encode()) && !alike(e.typ, typ, map[[2]*Type]bool{}) {
		if d, err = r.convert(t, &e, typ, d); err != nil {
			return err
		}
	}
	v := reflect.New(r.rt)
	in := copier{b: d.Bounds(), nested: c.nested + 1}
	if err := in.copyAll(typ, v.UnsafePointer(), d.Pointer(), false); err != nil {
		return err
	}
	runtime.KeepAlive(d)
	reflect.NewAt(t.rt, to).Elem().Set(v.Elem())
	return nil
}

// convert turns a value that was stored with another type of the same name into a value of the
// program's type.
func (r *Registered) convert(t *Type, e *envelope, typ *Type, d *Detached) (*Detached, error) {
	c, ok := r.converts.Load(e.typ)
	if !ok {
		c, _ = r.converts.LoadOrStore(e.typ, NewConversion(e.typ, typ, r.steps))
	}
	how := c.(*Conversion)
	if !how.Possible(r.evolve) {
		return nil, &ConcreteError{Interface: t.String(), Concrete: r.name, Lines: how.Lines(),
			What: "was stored with another type than the registered one; everheap.Register it with everheap.Evolve() or everheap.Migrate"}
	}
	x := how.NewConverter()
	made, err := x.Convert(d.Pointer(), d.Bounds())
	if err != nil {
		return nil, err
	}
	owned, err := typ.Measure(made)
	if err != nil {
		return nil, err
	}
	fixed := alignUp(typ.size, 8)
	out := &Detached{make([]uint64, max((fixed+owned+7)/8, 1)), fixed + owned}
	err = typ.flatten(out.Pointer(), uintptr(out.Pointer()), 0, fixed, owned, made, nil)
	runtime.KeepAlive(x)
	runtime.KeepAlive(d)
	return out, err
}

// envelope checks the envelope of the interface at p, and walks the value in it.
func (w *walker) envelope(t *Type, p unsafe.Pointer) error {
	b := codedBytes(p)
	if b == nil {
		return nil
	}
	e, what := openEnvelope(b)
	switch {
	case what != "":
		return damage(t, w.b, p, what)
	case w.nested >= maxEnveloped:
		return damage(t, w.b, p, "interfaces that nest too deeply")
	case w.met != nil:
		w.met(strings.Clone(e.name), e.typ)
	}
	if w.shallow || (w.handle != nil || w.judge != nil) && !e.typ.handles {
		return nil
	}
	d, err := e.value()
	if err == nil {
		in := walker{b: d.Bounds(), nested: w.nested + 1, handle: w.handle, judge: w.judge, met: w.met}
		err = in.all(e.typ, d.Pointer())
		w.stopped = in.stopped
		runtime.KeepAlive(d)
	}
	if damaged := (*DamageError)(nil); errors.As(err, &damaged) {
		return damage(t, w.b, p, "an interface with a value of type "+damaged.Type+" that is damaged: "+damaged.What)
	}
	return err
}

// Learn remembers the concrete types of the stored value at p, in the block b, by their names,
// for ParseJSON and ParseCompact. The error is a *DamageError.
func (t *Type) Learn(p unsafe.Pointer, b Bounds) error {
	if !t.copies {
		return nil
	}
	w := walker{b: b, met: learn}
	return w.all(t, p)
}
