package layout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"testing"
	"unsafe"
)

// Any bytes in an envelope are damage, or a value that can be used in every way.
func TestInterface_Damage(t *testing.T) {
	v := someDrawing()
	typ := typeFor[drawing](t)
	src, err := typ.Stored(unsafe.Pointer(&v))
	if err != nil {
		t.Fatal(err)
	}
	img, err := typ.Detach(src, everywhere)
	if err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(src)
	damaged := 0
	for at := range img {
		for _, bit := range []byte{1, 0x80} {
			if testing.Short() && at%7 != 0 {
				continue
			}
			b := bytes.Clone(img)
			b[at] ^= bit
			// Attach once only: the bytes of a key may now be an address, and then its order depends on where
			// the copy lies.
			d, err := typ.Attach(b)
			if err != nil {
				if !errors.As(err, new(*DamageError)) {
					t.Fatalf("byte %d: got %v", at, err)
				}
				damaged++
				continue
			}
			out := reflect.New(typ.GoType())
			if err := typ.CopyOut(out.UnsafePointer(), d.Pointer(), d.Bounds()); err != nil && !errors.As(err, new(*ConcreteError)) && !errors.As(err, new(*DamageError)) && !errors.As(err, new(*CodedError)) {
				t.Fatalf("byte %d: CopyOut: %v", at, err)
			}
			if _, err := typ.AppendJSON(nil, d.Pointer(), d.Bounds()); err != nil {
				t.Fatalf("byte %d: AppendJSON: %v", at, err)
			}
			runtime.KeepAlive(d)
		}
	}
	if damaged == 0 {
		t.Error("no change of a byte is damage")
	}
}

// An envelope without a type, or with a type that does not fit its value, is damage.
func TestInterface_DamagedType(t *testing.T) {
	r := newRegion(t, 1<<20)
	typ := typeFor[any](t)
	var v any = circle{"name", 1}
	src, err := typ.Stored(unsafe.Pointer(&v))
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(part []byte){
		"a longer name":       func(part []byte) { binary.LittleEndian.PutUint32(part, 1<<30) },
		"no name":             func(part []byte) { binary.LittleEndian.PutUint32(part, 0) },
		"a longer descriptor": func(part []byte) { part[4] += 8 },
		"another kind":        func(part []byte) { part[8+len("circle")+2] = byte(Float64) },
		"no kind":             func(part []byte) { part[8+len("circle")+2] = byte(kindEnd) },
		"a name in bytes":     func(part []byte) { part[8] = 0xff },
	} {
		p, b := r.storeStored(t, typ, src)
		at := word(p, 0) - b.Lo + codedHead
		change(r.rw[at:])
		var damaged *DamageError
		if err := typ.Check(p, b); !errors.As(err, &damaged) {
			t.Errorf("%s: Check: got %v", what, err)
		}
		var out any
		if err := typ.CopyOut(unsafe.Pointer(&out), p, b); !errors.As(err, &damaged) {
			t.Errorf("%s: CopyOut: got %v", what, err)
		}
	}
	runtime.KeepAlive(src)
}

func FuzzInterface(f *testing.F) {
	for _, v := range []any{1, "x", circle{"a", 2}, someDrawing().Any, []any{nil, &square{Side: 1}}} {
		t, _ := For[any]()
		src, err := t.Stored(unsafe.Pointer(&v))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(codedBytes(src)))
		runtime.KeepAlive(src)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		typ := typeFor[any](t)
		img := make([]byte, 24+(len(data)+7)/8*8)
		binary.LittleEndian.PutUint64(img, 17)
		binary.LittleEndian.PutUint64(img[16:], uint64(len(data)))
		copy(img[24:], data)
		d, err := typ.Attach(img)
		if err != nil {
			return
		}
		var out any
		if err := typ.CopyOut(unsafe.Pointer(&out), d.Pointer(), d.Bounds()); err != nil && !errors.As(err, new(*ConcreteError)) && !errors.As(err, new(*CodedError)) {
			t.Fatalf("CopyOut of a checked value: %v", err)
		}
		text, err := typ.AppendJSON(nil, d.Pointer(), d.Bounds())
		if err != nil && !errors.Is(err, ErrTooDeep) && !errors.Is(err, ErrTooShared) {
			t.Fatalf("AppendJSON of a checked value: %v", err)
		}
		if err == nil {
			_, _ = typ.ParseJSON(text)
		}
		packed, err := typ.AppendCompact(nil, d.Pointer(), d.Bounds())
		if err == nil {
			if _, err := typ.ParseCompact(packed); err != nil {
				t.Fatalf("ParseCompact: %v", err)
			}
		}
		runtime.KeepAlive(d)
	})
}
