package edit_test

import (
	"errors"
	"math"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/layout"
)

// wordRef is a reference to a word.
type wordRef struct {
	_  layout.RefOf[uint64]
	id uint64
}

// editing runs fn with a writing editor on a heap without an engine, and aborts.
func editing(t *testing.T, fn func(ed *edit.Editor)) {
	t.Helper()
	s := heaptest.Open(t, 64<<20)
	reader := s.Heap.Reader(false)
	var store edit.Store
	var ed edit.Editor
	ed.Prepare(new(edit.Making), false)
	next := uint64(0)
	store.Attach(func(handle *layout.Type, id uint64) error { return ed.CheckHandle(handle, id) }, func(least uint64) uint64 {
		next = max(next, least) + 1
		return next - 1
	})
	store.Open(&s.Header, &reader, reader, 0)
	aborted := errors.New("aborted")
	err := s.Update(t, func(txn *heap.Txn) error {
		base, err := reader.Payload(s.Live.Current(), format.KindState)
		if err != nil {
			t.Fatal(err)
		}
		ed.Start(&store, txn)
		ed.From((*format.State)(base))
		fn(&ed)
		ed.End()
		return aborted
	})
	if err != aborted {
		t.Fatal(err)
	}
}

// An operation that fails because of what the program passed changes nothing, and the transaction
// can continue.
func TestEditor_ActThatFails(t *testing.T) {
	editing(t, func(ed *edit.Editor) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		refs := edit.MapOf{Key: layout.IdentityOf[float64](), Value: layout.IdentityOf[wordRef](), Sorted: true}
		list := edit.ListOf{Value: refs.Value}
		var err error
		refs.ID, err = ed.OpenMap("refs", refs)
		must(err)
		list.ID, err = ed.NewList(list.Value)
		must(err)
		word, key, nan := uint64(7), 1.0, math.NaN()
		id, err := ed.NewValue(layout.IdentityOf[uint64](), unsafe.Pointer(&word))
		must(err)
		good, dangling := wordRef{id: uint64(id)}, wordRef{id: uint64(format.MakeID(id.Tag(), 1000))}
		must(ed.Set(refs, unsafe.Pointer(&key), unsafe.Pointer(&good)))
		row := []wordRef{good, dangling}
		state := *ed.State
		for name, act := range map[string]func() error{
			"a dangling handle":           func() error { return ed.Set(refs, unsafe.Pointer(&key), unsafe.Pointer(&dangling)) },
			"a dangling handle in a row":  func() error { return ed.Append(list, unsafe.Pointer(&row[0]), len(row)) },
			"a key without an order":      func() error { return ed.Set(refs, unsafe.Pointer(&nan), unsafe.Pointer(&good)) },
			"an index out of range":       func() error { return ed.WriteItem(list, 0, unsafe.Pointer(&good)) },
			"a handle of another space":   func() error { _, err := ed.ListLen(edit.ListOf{ID: format.MakeID(id.Tag()+1, id.Index())}); return err },
			"a value of another type":     func() error { return ed.WriteValue(edit.RefOf{ID: id, Value: refs.Key}, unsafe.Pointer(&key)) },
			"a map that is a value":       func() error { _, err := ed.Len(edit.MapOf{ID: id, Key: refs.Key, Value: refs.Value}); return err },
			"a name with another type":    func() error { _, err := ed.OpenValue("refs", refs.Key, unsafe.Pointer(&key)); return err },
			"a truncation to more":        func() error { return ed.Truncate(list, 1) },
			"an element of an empty list": func() error { return ed.Pop(list, unsafe.Pointer(&row[0])) },
		} {
			if err := act(); err == nil {
				t.Errorf("%s: no error", name)
			}
			if err := ed.Err(); err != nil {
				t.Fatalf("%s: the transaction can only abort: %v", name, err)
			}
		}
		n, err := ed.ListLen(list)
		must(err)
		entries, err := ed.Len(refs)
		must(err)
		if *ed.State != state || n != 0 || entries != 1 {
			t.Errorf("%+v, %d elements, %d entries; before: %+v", *ed.State, n, entries, state)
		}
		var got wordRef
		if found, err := ed.Get(refs, unsafe.Pointer(&key), unsafe.Pointer(&got)); err != nil || !found || got.id != good.id {
			t.Errorf("%v, %t (%v)", got, found, err)
		}
	})
}

// An editor that has failed, or has ended, does nothing more, and says why.
func TestEditor_FailedAndEnded(t *testing.T) {
	editing(t, func(ed *edit.Editor) {
		word := uint64(7)
		id, err := ed.NewValue(layout.IdentityOf[uint64](), unsafe.Pointer(&word))
		if err != nil {
			t.Fatal(err)
		}
		of := edit.RefOf{ID: id, Value: layout.IdentityOf[uint64]()}
		expect := func(want error) {
			t.Helper()
			steps := ed.Write.Steps()
			write, read := ed.WriteValue(of, unsafe.Pointer(&word)), ed.ReadValue(of, unsafe.Pointer(&word))
			if !errors.Is(write, want) || !errors.Is(read, want) || ed.Write.Steps() != steps {
				t.Errorf("%v, %v; expected %v", write, read, want)
			}
		}
		first := errors.New("half changed")
		ed.Fail(first)
		ed.Fail(errors.New("a consequence"))
		expect(first)
		if !ed.End() || ed.End() {
			t.Error("End did not report its first call alone")
		}
		expect(edit.ErrEnded)
		lost := errors.New("lost")
		ed.Lose(lost)
		expect(lost)
	})
}
