package dump_test

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/dump"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// Run emits the types first, then all objects, then their contents, each time in the order of the
// indexes. It emits each of them once and loses nothing.
func TestRun_EmitsEveryKindInOrder(t *testing.T) {
	w := newWorld(t)
	d := w.dump().run()
	made, ops := map[uint64]bool{format.CatalogIndex: true, format.TypesIndex: true}, map[format.OpKind]int{}
	if !slices.IsSortedFunc(d.changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.phase(), b.phase()), cmp.Compare(a.object, b.object))
	}) {
		t.Error("the changes are not in the order of passes and indexes")
	}
	for _, c := range d.changes {
		ops[c.op]++
		if isNew := c.phase() < 2; isNew == made[c.object] {
			t.Errorf("object %d: a change of kind %d, and it is there: %v", c.object, c.op, made[c.object])
		} else if isNew {
			made[c.object] = true
		}
	}
	types := ops[format.OpNewType]
	delete(ops, format.OpNewType)
	want := map[format.OpKind]int{format.OpNewMap: 2, format.OpNewSorted: 1, format.OpNewList: 1, format.OpNewValue: perObject,
		format.OpSet: 3*perObject + 4 + types, format.OpAppend: perObject, format.OpSetValue: perObject}
	if types < 3 || !maps.Equal(ops, want) {
		t.Errorf("%d types, and changes by kind %v, want %v", types, ops, want)
	}
	if got := d.holds(); !maps.Equal(got, w.want) {
		t.Errorf("the objects hold %d things, want %d", len(got), len(w.want))
	}
	if d.Objects != w.state.Objects || d.Objects != uint64(len(made)) || d.Entries != uint64(5*perObject+4+types) || d.Missing != 0 || d.Last != w.state.NextIndex-1 {
		t.Errorf("counted %+v, the last index is %d; the state says %d objects and the next index %d", d.Counts, d.Last, w.state.Objects, w.state.NextIndex)
	}
	if len(d.lost) > 0 || d.Failed != nil {
		t.Errorf("lost %+v, failed %v", d.lost, d.Failed)
	}
}

// Run calls Meet with each key and each value before it emits them, except those of the space's own
// maps.
func TestRun_MeetsBeforeItEmits(t *testing.T) {
	w := newWorld(t)
	d := w.dump()
	shown, all := map[uint64]int{}, map[uint64]int{}
	d.Meet = func(object uint64, typ *layout.Type, p unsafe.Pointer, b layout.Bounds) {
		shown[object]++
		all[object]++
		if uintptr(p) < b.Lo || uintptr(p)+typ.Size() > b.Hi {
			t.Errorf("object %d: a part lies outside its block", object)
		}
	}
	d.putErr = func() error {
		for object, n := range shown {
			want := 1
			if object == w.hashed || object == w.sorted || object == w.holder {
				want = 2
			}
			if n != want {
				t.Errorf("object %d: %d things were shown before a change, want %d", object, n, want)
			}
		}
		clear(shown)
		return nil
	}
	d.run()
	if len(shown) > 0 || len(all) != 4+perObject || all[w.hashed] != 2*perObject || all[w.list] != perObject {
		t.Errorf("%d things of the hash map, %d of the list, of %d objects; after the last change %v", all[w.hashed], all[w.list], len(all), shown)
	}
}

// Run reports a damaged block, with its object; only the contents of the block, and the blocks below
// it, are missing.
func TestRun_DamagedBlocks(t *testing.T) {
	w := newWorld(t)
	whole := w.dump().run()
	met := map[format.Kind]int{}
	for _, a := range w.blocks() {
		kind := w.reader.Kind(a)
		if met[kind]++; met[kind] > 8 {
			continue
		}
		w.edit(a, func(block []byte, _ func()) {
			block[len(block)-1] ^= 1
			d := w.dump().run()
			reported := slices.DeleteFunc(slices.Clone(d.lost), func(l loss) bool { return l.at != a })
			if len(reported) == 0 || reported[0].err == nil {
				t.Fatalf("%v %#x is damaged: %+v", kind, a, d.lost)
			}
			if len(d.changes) > len(whole.changes) || d.Failed != nil {
				t.Errorf("%v %#x is damaged, and %d changes are emitted", kind, a, len(d.changes))
			}
			missing := 0
			got := d.holds()
			for key, v := range w.want {
				if now, ok := got[key]; !ok || now != v {
					if missing++; ok && now != "zero" {
						t.Errorf("%v %#x is damaged, and %q is %q", kind, a, key, now)
					}
				}
			}
			switch kind {
			case format.KindEntry, format.KindItem, format.KindValue:
				if d.Missing > 1 || missing > 1 || len(whole.changes)-len(d.changes) > 2 {
					t.Errorf("%v %#x is damaged: %d are missing, counted as %d; %d changes of %d", kind, a, missing, d.Missing, len(d.changes), len(whole.changes))
				}
				if kind == format.KindEntry && (len(d.lost) != 2 || d.lost[1].object != reported[0].object || !strings.Contains(d.lost[1].err.Error(), "can be read")) {
					t.Errorf("%v %#x is damaged: %+v", kind, a, d.lost)
				}
			case format.KindMap, format.KindSorted, format.KindList:
				if d.Objects != whole.Objects-1 {
					t.Errorf("%v %#x is damaged: %d objects of %d", kind, a, d.Objects, whole.Objects)
				}
			}
		})
	}
	for _, kind := range []format.Kind{format.KindEntry, format.KindItem, format.KindValue, format.KindMap, format.KindSorted, format.KindList,
		format.KindType, format.KindTable, format.KindBucket, format.KindLeaf} {
		if met[kind] == 0 {
			t.Errorf("no %v was met", kind)
		}
	}
	if d := w.dump().run(); len(d.lost) > 0 {
		t.Errorf("edit has not restored the space: %+v", d.lost)
	}
}

// Without a type, the objects that have it are lost: Run reports each once, emits nothing of them,
// and counts their contents as missing.
func TestRun_LostType(t *testing.T) {
	w := newWorld(t)
	d := w.dump().run()
	i := slices.IndexFunc(d.changes, func(c change) bool { return c.op == format.OpNewList })
	typ := d.changes[i].head.Arg // text: the type of a key or a value in all objects except the holder
	w.edit(w.objectAt(typ), func(block []byte, _ func()) {
		block[len(block)-1] ^= 1
		d := w.dump().run()
		times := map[uint64]int{}
		for _, l := range d.lost {
			times[l.object]++
		}
		if len(times) != 3+perObject+1 || times[typ] == 0 || times[w.list] != 1 || times[w.holder] != 0 {
			t.Errorf("%d objects are lost; the type %d, the list %d, the holder %d times", len(times), times[typ], times[w.list], times[w.holder])
		}
		for _, c := range d.changes {
			if times[c.object] > 0 {
				t.Errorf("object %d is lost, and a change of kind %d emitted", c.object, c.op)
			}
		}
		if d.Missing != 4*perObject {
			t.Errorf("%d values are missing, of %d", d.Missing, 4*perObject)
		}
	})
}

// The dump ends with the error of Lost: it emits and reports nothing after it.
func TestRun_LostEnds(t *testing.T) {
	w := newWorld(t)
	stop := errors.New("no further")
	met := map[format.Kind]int{}
	for _, a := range w.blocks() {
		kind := w.reader.Kind(a)
		if met[kind]++; met[kind] > 2 {
			continue
		}
		w.edit(a, func(block []byte, _ func()) {
			block[len(block)-1] ^= 1
			d := w.dump()
			lost, after := 0, 0
			d.Lost = func(uint64, format.Addr, error) error { lost++; return stop }
			d.putErr = func() error { after += lost; return nil }
			if err := d.Run(); err != stop || lost != 1 || after != 0 || d.Failed != nil {
				t.Errorf("%v %#x is damaged: %v; Lost was called %d times, and %d changes were emitted then; failed: %v", kind, a, err, lost, after, d.Failed)
			}
		})
	}
}

// The dump ends with the error of Put, at any change, and does not report it as damage.
func TestRun_PutFails(t *testing.T) {
	w := newWorld(t)
	n := len(w.dump().run().changes)
	full := errors.New("the disk is full")
	for k := 0; k < n; k += 1 + k/7 {
		d := w.dump()
		calls := 0
		d.putErr = func() error {
			if calls++; calls > k {
				return full
			}
			return nil
		}
		if err := d.Run(); err != full || d.Failed != full || calls != k+1 || len(d.lost) > 0 {
			t.Errorf("change %d fails: %v, %v; Put was called %d times, lost %+v", k, err, d.Failed, calls, d.lost)
		}
	}
}

// The count in an object bounds the blocks of it that Run visits, and the counts in the state bound
// those of the object table.
func TestRun_MoreThanItCanHold(t *testing.T) {
	w := newWorld(t)
	for _, index := range []uint64{w.hashed, w.sorted, w.list} {
		a := w.objectAt(index)
		w.edit(a, func(block []byte, seal func()) {
			payload := block[format.HeaderSize:]
			if index == w.list {
				(*format.ListObject)(unsafe.Pointer(&payload[0])).Count = 2
			} else {
				(*format.MapObject)(unsafe.Pointer(&payload[0])).Count = 2
			}
			seal()
			d := w.dump()
			visited := uint64(0)
			d.eachObject(func(o object.At, tell func() error) error {
				visited = 0
				err := tell()
				if o.Index == index && visited > object.BlockBudget(2)+1 {
					t.Errorf("object %d: %d blocks are visited for 2 things", index, visited)
				}
				return err
			})
			verify := d.Verify
			d.Verify = func(a format.Addr, kind format.Kind) error { visited++; return verify(a, kind) }
			d.run()
			if index == w.list { // the walk of a list ends with the first element beyond its length
				if len(d.lost) == 0 || d.lost[0].object != index {
					t.Errorf("the list: %+v", d.lost)
				}
				return
			}
			if !slices.ContainsFunc(d.lost, func(l loss) bool { return l.object == index && l.at == a && errors.Is(l.err, object.ErrCircles) }) {
				t.Errorf("object %d: %+v", index, d.lost)
			}
		})
	}
	d := w.dump()
	d.State.Objects = 2
	d.run()
	filled := map[uint64]bool{}
	for _, c := range d.changes {
		if c.phase() == 2 {
			filled[c.object] = true
		}
	}
	if most := object.BlockBudget(2); d.Objects > most || uint64(len(filled)) > most {
		t.Errorf("a state says 2 objects, and %d are emitted, and the contents of %d", d.Objects, len(filled))
	}
	if !slices.ContainsFunc(d.lost, func(l loss) bool { return l.object == 0 && errors.Is(l.err, object.ErrCircles) }) {
		t.Errorf("a state says 2 objects, and there are more: %+v", d.lost)
	}
}

// A node that links to itself does not keep the walk from ending.
func TestRun_Circles(t *testing.T) {
	w := newWorld(t)
	for _, index := range []uint64{w.hashed, w.sorted, w.list} {
		at := w.objectAt(index)
		payload, err := w.reader.Payload(at, w.reader.Kind(at))
		must(t, err)
		root := (*format.MapObject)(payload).Root
		if index == w.list {
			root = (*format.ListObject)(payload).Root
		}
		first := format.Link(root).Addr()
		w.edit(first, func(block []byte, seal func()) {
			words := unsafe.Slice((*uint64)(unsafe.Pointer(&block[format.HeaderSize])), (len(block)-format.HeaderSize)/8)
			for i, word := range words {
				if to := format.Addr(word & format.AddrMask); w.reader.Plausible(to) && w.reader.Verify(to, w.reader.Kind(to)) == nil {
					words[i] = word&^format.AddrMask | uint64(first)
				}
			}
			seal()
			d := w.dump().run()
			if len(d.lost) == 0 || d.Missing < perObject/2 {
				t.Errorf("object %d: %d are missing, lost %d", index, d.Missing, len(d.lost))
			}
		})
	}
}

// Objects with an index beyond the state's last one are lost; Run reports each once.
func TestRun_BeyondTheLastIndex(t *testing.T) {
	w := newWorld(t)
	whole := w.dump().run()
	d := w.dump()
	d.State.NextIndex -= 10
	d.run()
	if len(d.lost) != 10 || d.Objects != whole.Objects-10 || d.Entries != whole.Entries-10 {
		t.Errorf("%d objects of %d, %d entries of %d, %d lost", d.Objects, whole.Objects, d.Entries, whole.Entries, len(d.lost))
	}
	for _, l := range d.lost {
		if l.object < d.State.NextIndex || l.at == 0 || !strings.Contains(l.err.Error(), "beyond the last index") {
			t.Errorf("%+v", l)
		}
	}
}

// Run emits each object, in each pass, inside Guard, and takes an error of Guard as damage of the
// object.
func TestRun_Guard(t *testing.T) {
	w := newWorld(t)
	whole := w.dump().run()
	d := w.dump()
	calls, bad := 0, errors.New("a page cannot be read")
	d.eachObject(func(o object.At, tell func() error) error {
		if calls++; o.Index == w.list {
			return bad
		}
		return tell()
	})
	d.run()
	if want := 3 * int(whole.Objects); calls != want {
		t.Errorf("Guard is called %d times, want %d", calls, want)
	}
	at := w.objectAt(w.list)
	for _, l := range d.lost {
		if l.object != w.list || l.at != at || l.err != bad {
			t.Errorf("%+v", l)
		}
	}
	if len(d.lost) == 0 || d.Objects != whole.Objects-1 || slices.ContainsFunc(d.changes, func(c change) bool { return c.object == w.list }) {
		t.Errorf("%d objects of %d are emitted; lost %+v", d.Objects, whole.Objects, d.lost)
	}
}

// Run emits an entry of the catalog if Name returns true; leaving one out is not damage.
func TestRun_Name(t *testing.T) {
	w := newWorld(t)
	d := w.dump()
	d.Name = func(object uint64, e unsafe.Pointer, _ layout.Bounds) bool {
		return object != format.CatalogIndex || *layout.Cast[uint64](w.own.ValueOf(e)) != w.list
	}
	d.run()
	got := d.holds()
	if _, told := got[entryKey(format.CatalogIndex, "list")]; told || len(got) != len(w.want)-1 || len(d.lost) > 0 || d.Missing > 0 {
		t.Errorf("emitted %v, %d things of %d, lost %+v", told, len(got), len(w.want), d.lost)
	}
}

// A name that refers to a missing object is damage, and so is a digest that refers to another type
// than its own.
func TestRun_There(t *testing.T) {
	w := newWorld(t)
	d := w.dump()
	d.There = func(index uint64) bool { return index != w.list }
	d.run()
	if len(d.lost) != 2 || d.lost[0].object != format.CatalogIndex || !strings.Contains(d.lost[0].err.Error(), `"list" refers to object`) || d.Missing != 1 {
		t.Errorf("%d are missing, lost %+v", d.Missing, d.lost)
	}
	if _, told := d.holds()[entryKey(format.CatalogIndex, "list")]; told {
		t.Error("the name of a missing object is emitted")
	}

	digests := slices.DeleteFunc(slices.Clone(d.changes), func(c change) bool { return c.object != format.TypesIndex })
	otherType := *layout.Cast[uint64](w.own.ValueOf(unsafe.Pointer(&digests[1].payload[0])))
	w.edit(format.Addr(digests[0].head.Addr-format.HeaderSize), func(block []byte, seal func()) {
		for _, to := range []uint64{w.list, otherType} {
			*layout.Cast[uint64](w.own.ValueOf(unsafe.Pointer(&block[format.HeaderSize]))) = to
			seal()
			for _, there := range []bool{true, false} {
				d := w.dump()
				if there {
					d.There = func(uint64) bool { return true }
				}
				d.run()
				if found := len(d.lost) == 2 && d.lost[0].object == format.TypesIndex && strings.Contains(d.lost[0].err.Error(), "not its type"); found != there || !there && len(d.lost) > 0 {
					t.Errorf("a digest refers to object %d; There is set: %v; lost %+v", to, there, d.lost)
				}
			}
		}
	})
}

// Run reads an address in the object table only if a block can be there, and emits only blocks of
// objects.
func TestRun_NoObject(t *testing.T) {
	w := newWorld(t)
	whole := w.dump().run()
	at := w.objectAt(w.list)
	entryBlock := format.Addr(whole.changes[slices.IndexFunc(whole.changes, func(c change) bool { return c.op == format.OpSet })].head.Addr - format.HeaderSize)
	for _, a := range w.blocks() {
		if w.reader.Kind(a) != format.KindTable {
			continue
		}
		w.edit(a, func(block []byte, seal func()) {
			words := unsafe.Slice((*uint64)(unsafe.Pointer(&block[format.HeaderSize])), (len(block)-format.HeaderSize)/8)
			i := slices.Index(words, uint64(at))
			if i < 0 {
				return
			}
			for _, to := range []format.Addr{16, entryBlock} {
				words[i] = uint64(to)
				seal()
				d := w.dump().run()
				if len(d.lost) == 0 || d.Objects != whole.Objects-1 || slices.ContainsFunc(d.changes, func(c change) bool { return c.object == w.list }) {
					t.Errorf("the object table has %#x: %d objects of %d; lost %+v", to, d.Objects, whole.Objects, d.lost)
				}
				for _, l := range d.lost {
					if l.object != w.list || l.at != to {
						t.Errorf("the object table has %#x: %+v", to, l)
					}
				}
			}
			words[i] = uint64(at)
		})
	}
}

// The head of a backup repeats the header and the state.
func TestHead(t *testing.T) {
	w := newWorld(t)
	h := dump.Head(&w.Header, 5<<20, &w.state)
	want := format.BackupHead{SpaceID: w.Header.SpaceID, Secret: w.Header.Secret, Window: w.Header.Window, Limit: 5 << 20,
		Created: w.Header.Created, Tag: w.Header.Tag, Version: w.state.Version, UnixNano: w.state.UnixNano}
	want.SetChain(w.state.Chain)
	if h != want || h.Version == 0 || h.Tag == 0 || h.SpaceID == [16]byte{} {
		t.Errorf("%+v, want %+v", h, want)
	}
}
