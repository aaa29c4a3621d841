package format

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"sync/atomic"
)

// Record describes one persisted record: what FORMAT.md shows, and what the
// golden bytes are annotated with.
type Record struct {
	Name   string
	Packed bool // encoded field by field, without the padding of the struct
	Size   ByteCount
	Fields []Field
}

// Field describes one field of a record.
type Field struct {
	Offset ByteCount
	Size   ByteCount
	Name   string
	Type   string // u8 to u64, an array of those, or the name of another record
	Doc    string // one sentence; empty only for padding
}

// records are the persisted records, in the order of FORMAT.md. Those that are
// read with a copy are packed; the others are used in place.
var records = []struct {
	record any
	packed bool
}{
	{Header{}, true},
	{Anchor{}, true},
	{BlockHeader{}, false},
	{State{}, false},
	{MapObject{}, false},
	{TypeObject{}, false},
	{ValueObject{}, false},
	{ListObject{}, false},
	{EntryHead{}, false},
	{NodeHead{}, false},
	{Batch{}, false},
	{BatchItem{}, false},
	{Pins{}, false},
	{Pin{}, false},
	{Op{}, false},
	{FrameHead{}, true},
	{RecordHead{}, true},
	{OpHead{}, true},
	{BackupHead{}, true},
	{BackupFrame{}, true},
	{BackupEnd{}, true},
	{ChangeHead{}, true},
	{Subscription{}, true},
	{Replica{}, true},
	{LiveIdentity{}, true},
	{(*Live)(nil), false},
	{(*LiveAnchor)(nil), false},
	{(*LiveSegment)(nil), false},
	{(*LiveStack)(nil), false},
	{(*LiveSubscription)(nil), false},
	{(*LiveCopy)(nil), false},
	{(*LiveProcess)(nil), false},
	{(*LiveSlot)(nil), false},
	{(*LiveLock)(nil), false},
	{(*LiveUnit)(nil), false},
}

// Records describes every persisted record, from the structs and their tags.
func Records() []Record {
	list := make([]Record, 0, len(records))
	for _, r := range records {
		t := reflect.TypeOf(r.record)
		if t.Kind() == reflect.Pointer { // with atomic words, which must not be copied
			t = t.Elem()
		}
		list = append(list, describe(t, r.packed))
	}
	return list
}

// describe reads the description of one record.
func describe(t reflect.Type, packed bool) Record {
	rec := Record{Name: t.Name(), Packed: packed, Size: ByteCount(t.Size())}
	var at ByteCount
	for i := range t.NumField() {
		f := t.Field(i)
		size := ByteCount(f.Type.Size())
		if !packed {
			at = ByteCount(f.Offset)
		}
		rec.Fields = append(rec.Fields, Field{Offset: at, Size: size, Name: f.Name, Type: typeName(f.Type), Doc: f.Tag.Get("doc")})
		at += size
	}
	if packed {
		rec.Size = ByteCount(binary.Size(reflect.Zero(t).Interface()))
	}
	return rec
}

// typeName names the type of a field as FORMAT.md does.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[atomic.Uint64]():
		return "u64"
	case t == reflect.TypeFor[atomic.Uint32]():
		return "u32"
	case t.Kind() == reflect.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), typeName(t.Elem()))
	case t.Kind() == reflect.Struct:
		return t.Name()
	}
	return fmt.Sprintf("u%d", t.Size()*8)
}
