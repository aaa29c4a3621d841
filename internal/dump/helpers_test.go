package dump_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/dump"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ref is a value with a handle.
type ref struct {
	_  layout.RefOf[string]
	ID uint64
}

var (
	text   = layout.IdentityOf[string]()
	number = layout.IdentityOf[uint64]()
	refs   = layout.IdentityOf[ref]()
)

// perObject is the number of entries of each map and each list of a world.
const perObject = 150

// A world is a closed space with objects of every kind.
type world struct {
	*heaptest.Space
	t                            *testing.T
	reader                       heap.Reader
	state                        format.State
	at                           format.Addr // of the state
	own                          *entry.Shape
	hashed, sorted, list, holder uint64            // indexes
	want                         map[string]string // the contents of every object
}

// newWorld makes a world.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "space")
	sp, err := engine.Open(dir, engine.Options{MaxSize: 64 << 20})
	must(t, err)
	w := &world{t: t, want: map[string]string{}}
	must(t, sp.Change(false, func(tx *engine.Tx) error {
		hashed, err := tx.OpenMap("hashed", edit.MapOf{Key: text, Value: text})
		must(t, err)
		sorted, err := tx.OpenMap("sorted", edit.MapOf{Key: number, Value: text, Sorted: true})
		must(t, err)
		holder, err := tx.OpenMap("holder", edit.MapOf{Key: number, Value: refs})
		must(t, err)
		list, err := tx.OpenList("list", text)
		must(t, err)
		w.hashed, w.sorted, w.holder, w.list = hashed.Index(), sorted.Index(), holder.Index(), list.Index()
		for name, id := range map[string]format.ID{"hashed": hashed, "sorted": sorted, "holder": holder, "list": list} {
			w.want[entryKey(format.CatalogIndex, name)] = fmt.Sprint(id.Index())
		}
		for i := range uint64(perObject) {
			key, value := fmt.Sprint("key ", i), strings.Repeat("value ", int(i%40))
			must(t, tx.Set(edit.MapOf{ID: hashed, Key: text, Value: text}, unsafe.Pointer(&key), unsafe.Pointer(&value)))
			must(t, tx.Set(edit.MapOf{ID: sorted, Key: number, Value: text, Sorted: true}, unsafe.Pointer(&i), unsafe.Pointer(&value)))
			must(t, tx.Append(edit.ListOf{ID: list, Value: text}, unsafe.Pointer(&value), 1))
			id, err := tx.NewValue(text, unsafe.Pointer(&value))
			must(t, err)
			r := ref{ID: uint64(id)}
			must(t, tx.Set(edit.MapOf{ID: holder, Key: number, Value: refs}, unsafe.Pointer(&i), unsafe.Pointer(&r)))
			w.want[entryKey(w.hashed, key)] = value
			w.want[entryKey(w.sorted, i)] = value
			w.want[entryKey(w.list, i)] = value
			w.want[entryKey(w.holder, i)] = fmt.Sprint(uint64(id))
			w.want[entryKey(id.Index(), "")] = value
		}
		return nil
	}))
	h := sp.Header()
	must(t, sp.Close())
	w.Space = (&heaptest.Space{Dir: dir, Header: h}).Join(t)
	w.reader, w.at = w.Heap.Reader(true), w.Live.Current()
	p, err := w.reader.Payload(w.at, format.KindState)
	must(t, err)
	w.state = *(*format.State)(p)
	w.own = w.shape(object.OwnTypes())
	return w
}

func entryKey(object uint64, key any) string { return fmt.Sprint(object, " ", key) }

// shape returns the shape of a map of the space.
func (w *world) shape(key, value *layout.Type) *entry.Shape {
	return entry.NewShape(key, value, w.Header.Secret)
}

// loss has the arguments of a call of Lost.
type loss struct {
	object uint64
	at     format.Addr
	err    error
}

// change has the arguments of a call of Put.
type change struct {
	op      format.OpKind
	object  uint64
	head    format.OpHead
	payload []byte
}

// A told is a dump with the changes that it has emitted. Its hooks can be replaced before run.
type told struct {
	dump.Dump
	w       *world
	changes []change
	lost    []loss
	putErr  func() error // called before each change
}

// dump returns the dump of the world.
func (w *world) dump() *told {
	d := &told{w: w}
	state := w.state
	d.Dump = dump.Dump{Reader: &w.reader, State: &state, Own: w.own, Shape: w.shape, Verify: w.reader.Verify,
		Put: func(h format.OpHead, payload []byte) error {
			if d.putErr != nil {
				if err := d.putErr(); err != nil {
					return err
				}
			}
			d.changes = append(d.changes, change{format.OpKindOf(h.What), format.ObjectOf(h.What), h, slices.Clone(payload)})
			return nil
		},
		Lost: func(object uint64, a format.Addr, err error) error {
			d.lost = append(d.lost, loss{object, a, err})
			return nil
		}}
	return d
}

// run runs the dump, and fails the test on an error.
func (d *told) run() *told {
	d.w.t.Helper()
	must(d.w.t, d.Run())
	return d
}

// holds returns the contents of the emitted objects, in the form of world.want.
func (d *told) holds() map[string]string {
	t := d.w.t
	t.Helper()
	got, shapes := map[string]string{}, map[uint64]*entry.Shape{format.CatalogIndex: d.w.own}
	types, cells := map[uint64]*layout.Type{}, map[uint64]*entry.Cell{}
	for _, c := range d.changes {
		p := unsafe.Pointer(unsafe.SliceData(c.payload))
		switch c.op {
		case format.OpNewType:
			typ, err := object.TypeIn(c.payload)
			must(t, err)
			types[c.object] = typ
		case format.OpNewMap, format.OpNewSorted:
			shapes[c.object] = d.w.shape(types[c.head.Addr], types[c.head.Arg])
		case format.OpNewList:
			cells[c.object] = entry.NewItem(types[c.head.Arg], nil)
		case format.OpNewValue:
			cells[c.object] = entry.NewValue(types[c.head.Arg], nil)
		case format.OpSet:
			sh := shapes[c.object]
			if sh == nil {
				continue // a digest of a type
			}
			must(t, object.RelocateEntry(sh, c.head, p, boundsOf(c)))
			key := value(sh.Key, sh.KeyOf(p))
			if got[entryKey(c.object, key)] != "" {
				t.Errorf("object %d: the key %s is emitted twice", c.object, key)
			}
			got[entryKey(c.object, key)] = value(sh.Value, sh.ValueOf(p))
		case format.OpAppend, format.OpSetValue:
			key := ""
			if c.op == format.OpAppend {
				key = fmt.Sprint(c.head.Arg)
			}
			if c.payload == nil {
				got[entryKey(c.object, key)] = "zero"
				continue
			}
			must(t, object.RelocateCell(cells[c.object], c.head, p, boundsOf(c)))
			got[entryKey(c.object, key)] = value(cells[c.object].Type, cells[c.object].ValueOf(p))
		default:
			t.Errorf("a change of kind %d", c.op)
		}
	}
	return got
}

// boundsOf returns the bounds of the copied payload of a change.
func boundsOf(c change) layout.Bounds {
	lo := uintptr(unsafe.Pointer(unsafe.SliceData(c.payload)))
	return layout.Bounds{Lo: lo, Hi: lo + uintptr(len(c.payload))}
}

// value returns a relocated value as text.
func value(typ *layout.Type, p unsafe.Pointer) string {
	if typ.Size() == 8 {
		return fmt.Sprint(*(*uint64)(p))
	}
	return strings.Clone(*(*string)(p))
}

// blocks lists the blocks that the version reaches, in the order of their addresses, without its
// state and the list of its changes.
func (w *world) blocks() (list []format.Addr) {
	w.t.Helper()
	must(w.t, check.Newer(&w.reader, w.at, 0, func(a format.Addr, _ format.ByteCount) {
		if a != w.at && w.reader.Kind(a) != format.KindOps {
			list = append(list, a)
		}
	}))
	slices.Sort(list)
	return list
}

// edit calls fn with the writable bytes of a block, and with a function that corrects its checksum.
// Afterwards it restores the block.
func (w *world) edit(a format.Addr, fn func(block []byte, seal func())) {
	w.t.Helper()
	_ = w.Update(w.t, func(txn *heap.Txn) error {
		size := int(w.reader.Size(a)) + format.HeaderSize
		block := unsafe.Slice((*byte)(unsafe.Add(txn.Payload(a), -format.HeaderSize)), size)
		was := slices.Clone(block)
		fn(block, func() { *(*uint32)(unsafe.Pointer(&block[0])) = format.BlockSum(block, uint64(a)-w.Header.Base) })
		copy(block, was)
		return errors.New("not to be published")
	})
}

// objects lists the objects in the object table, in the order of their indexes.
func (w *world) objects() (list []object.At) {
	w.t.Helper()
	visit := func(a format.Addr, kind format.Kind) (bool, error) { return true, w.reader.Verify(a, kind) }
	must(w.t, table.Walk(&w.reader, format.Link(w.state.Table), visit, func(index uint64, a format.Addr) error {
		list = append(list, object.At{Index: index, Addr: a, Kind: w.reader.Kind(a)})
		return nil
	}))
	return list
}

// objectAt returns the address of an object's block.
func (w *world) objectAt(index uint64) format.Addr {
	w.t.Helper()
	list := w.objects()
	return list[slices.IndexFunc(list, func(o object.At) bool { return o.Index == index })].Addr
}

// eachObject makes Guard call fn with every object, in every pass.
func (d *told) eachObject(fn func(o object.At, tell func() error) error) {
	list, calls := d.w.objects(), 0
	d.Guard = func(tell func() error) error {
		calls++
		return fn(list[(calls-1)%len(list)], tell)
	}
}

// phase returns the pass, of the three, that emits a change.
func (c change) phase() int {
	switch c.op {
	case format.OpNewType:
		return 0
	case format.OpNewMap, format.OpNewSorted, format.OpNewList, format.OpNewValue:
		return 1
	}
	return 2
}
