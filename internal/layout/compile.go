package layout

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"time"
	"unsafe"
)

const (
	maxNodes = 2048      // types that one type may mention
	maxFixed = 1<<31 - 1 // bytes of a fixed part
)

// cache maps a reflect.Type to its finished *Type. A mutex serialises compiling, so that each Go type
// has one descriptor and no goroutine sees a half-built one.
var (
	cache     sync.Map
	compiling sync.Mutex
)

// The stored form of time.Time is that of Go: wall, ext and a location that is always nil here.
var _ [24]byte = [unsafe.Sizeof(time.Time{})]byte{}

var (
	timeType   = reflect.TypeFor[time.Time]()
	lockerType = reflect.TypeFor[sync.Locker]()
)

// For returns the descriptor of T.
func For[T any]() (*Type, error) { return Of(reflect.TypeFor[T]()) }

// Of returns the descriptor of a Go type. The error is an *UnstorableError.
func Of(rt reflect.Type) (*Type, error) {
	if t, ok := cache.Load(rt); ok {
		return t.(*Type), nil
	}
	compiling.Lock()
	defer compiling.Unlock()
	c := compiler{root: rt, nodes: make(map[reflect.Type]*Type)}
	t, err := c.node(rt)
	if err != nil {
		return nil, err
	}
	refuse := func(advice string) error {
		return &UnstorableError{Type: rt.String(), Field: rt.String(), Advice: advice}
	}
	if what := finish(c.order); what != "" {
		return nil, refuse(what)
	}
	for _, n := range c.order {
		if n.key == nil {
			continue
		}
		if err := n.key.KeyError(); err != nil {
			return nil, refuse(badKey(n.key))
		}
		if n.kind == Sorted && n.key.OrderError() != nil {
			return nil, refuse("the key type " + n.key.String() + " of a Sorted holds complex numbers, which have no order; use two floats")
		}
	}
	for _, n := range c.order {
		cache.Store(n.rt, n)
	}
	return t, nil
}

// compiler builds the descriptors of one type and of all that it mentions.
type compiler struct {
	root  reflect.Type
	nodes map[reflect.Type]*Type
	order []*Type
	path  []string
}

// refuse returns the error for the type at the current path.
func (c *compiler) refuse(rt reflect.Type, advice string) error {
	return &UnstorableError{Type: c.root.String(), Path: strings.TrimPrefix(strings.Join(c.path, ""), "."), Field: rt.String(), Advice: advice}
}

// refuseFinally is refuse for a type that no method of a containing type can make storable.
func (c *compiler) refuseFinally(rt reflect.Type, advice string) error {
	u := c.refuse(rt, advice).(*UnstorableError)
	u.final = true
	return u
}

// at compiles rt as the part of the current type that step names.
func (c *compiler) at(step string, rt reflect.Type) (*Type, error) {
	c.path = append(c.path, step)
	t, err := c.node(rt)
	c.path = c.path[:len(c.path)-1]
	return t, err
}

func (c *compiler) node(rt reflect.Type) (*Type, error) {
	if t, ok := cache.Load(rt); ok {
		return t.(*Type), nil
	}
	if t := c.nodes[rt]; t != nil {
		return t, nil
	}
	advice, final := refusal(rt)
	if final {
		return nil, c.refuseFinally(rt, advice)
	}
	if len(c.order) >= maxNodes || len(c.path) > maxNodes {
		return nil, c.refuseFinally(rt, "split the type: it mentions more than 2048 types")
	}
	t := &Type{rt: rt, size: rt.Size(), align: uintptr(rt.Align())}
	if rt.PkgPath() != "" {
		t.name = rt.String()
	}
	before := len(c.order)
	c.nodes[rt] = t
	c.order = append(c.order, t)
	err := error(nil)
	if advice != "" {
		err = c.refuse(rt, advice)
	} else {
		err = c.fill(t, rt)
	}
	if u := (*UnstorableError)(nil); err != nil && (!errors.As(err, &u) || u.final) {
		return t, err
	}
	kind := marshalerKind(rt)
	if kind == Invalid || err == nil && !leadsToCopies(rt, map[reflect.Type]bool{}) {
		return t, err
	}
	// The type cannot be stored field by field, or has built-in maps or interfaces that its own methods
	// handle: so it is stored by its methods. The types compiled for its fields are not needed; only
	// they refer to each other.
	for _, n := range c.order[before+1:] {
		delete(c.nodes, n.rt)
	}
	c.order = c.order[:before+1]
	*t = Type{rt: rt, size: rt.Size(), align: uintptr(rt.Align()), name: t.name, kind: kind}
	return t, nil
}

// fill completes t. It handles every kind that refusal lets through.
func (c *compiler) fill(t *Type, rt reflect.Type) (err error) {
	switch k := rt.Kind(); {
	case k == reflect.Bool:
		t.kind = Bool
	case k >= reflect.Int && k <= reflect.Uint64:
		t.kind = Int + Kind(k-reflect.Int)
	case k >= reflect.Float32 && k <= reflect.Complex128:
		t.kind = Float32 + Kind(k-reflect.Float32)
	case k == reflect.String:
		t.kind = String
	case k == reflect.Slice:
		t.kind = Slice
		t.elem, err = c.at("[]", rt.Elem())
	case k == reflect.Map:
		return c.fillTable(t, rt)
	case k == reflect.Interface:
		return c.fillInterface(t, rt)
	case k == reflect.Pointer:
		t.kind = Pointer
		t.elem, err = c.at("", rt.Elem())
	case k == reflect.Array:
		t.kind, t.length = Array, uintptr(rt.Len())
		t.elem, err = c.at("[]", rt.Elem())
	case addressKind(rt) != Invalid:
		t.kind = addressKind(rt)
		if rt.PkgPath() == "net/netip" {
			t.name = ""
		}
	case rt.ConvertibleTo(timeType):
		t.kind = Time
		if rt == timeType {
			t.name = ""
		}
	default:
		return c.fillStruct(t, rt)
	}
	return err
}

func (c *compiler) fillStruct(t *Type, rt reflect.Type) (err error) {
	if m := handleMarker(rt); m != nil {
		kind, key, value := m.handleOf()
		t.kind = kind
		if key != nil {
			if t.key, err = c.at(".key", key); err != nil {
				return err
			}
		}
		t.elem, err = c.at(".value", value)
		return err
	}
	if m := dictMarkerOf(rt); m != nil {
		return c.fillDict(t, rt, m)
	}
	t.kind = Struct
	for i := range rt.NumField() {
		f := rt.Field(i)
		if f.Name == "_" {
			continue
		}
		ft, err := c.at("."+f.Name, f.Type)
		if err != nil {
			return err
		}
		tag := f.Tag.Get("everheap")
		if advice := checkTag(tag); advice != "" {
			c.path = append(c.path, "."+f.Name)
			return c.refuseFinally(f.Type, advice)
		}
		if d := stranger(rt, f.Type); d != nil && !hasOption(tag, "content") {
			c.path = append(c.path, "."+f.Name)
			return c.refuse(f.Type, "its field "+hidden(d)+" is a pointer of another package, which may compare the pointer instead of following it; if only the target counts, tag the field everheap:\"content\"")
		}
		t.fields = append(t.fields, Field{f.Name, tag, f.Offset, ft})
	}
	// After the fields: an embedded mutex is then named by its own path.
	if reflect.PointerTo(rt).Implements(lockerType) {
		return c.refuseFinally(rt, "it is a lock: keep it outside the stored type, or use Space.Mutex")
	}
	if path := hidden(rt); path != "" && (isStandard(rt.PkgPath()) || marshalerKind(rt) != Invalid) {
		return c.refuse(rt, "its field "+path+" is a hidden pointer, and its package may compare the pointer instead of following it; store the data that it is made from")
	}
	return nil
}
