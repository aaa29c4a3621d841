package format

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"
)

// The golden files hold an example of each persisted record: offset, bytes,
// field and description. A change of theirs is a change of the format.

// counted fills a record with numbers that differ: 0x…0101, 0x…0202, …
func counted(v reflect.Value, n *uint64) {
	switch {
	case v.CanAddr() && v.Type() == reflect.TypeFor[atomic.Uint64]():
		*n++
		v.Addr().Interface().(*atomic.Uint64).Store(*n * 0x0101)
	case v.CanAddr() && v.Type() == reflect.TypeFor[atomic.Uint32]():
		*n++
		v.Addr().Interface().(*atomic.Uint32).Store(uint32(*n * 0x0101))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				counted(v.Field(i), n)
			}
		}
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			counted(v.Index(i), n)
		}
	default:
		*n++
		v.SetUint(*n * 0x0101 & (1<<(v.Type().Size()*8) - 1))
	}
}

// sample returns the bytes of an example of the record.
func sample(r Record) []byte {
	switch r.Name {
	case "Header":
		return sampleHeader().Encode()[:r.Size]
	case "Anchor":
		return sampleAnchor().Encode()[:r.Size]
	case "LiveIdentity":
		return sampleIdentity().Encode()[:r.Size]
	case "BlockHeader":
		h := BlockHeader{Sum: 0x01020304, Size: 40, Meta: MakeMeta(0x123456789abc, KindEntry, ClassFor(40))}
		return bytesOf(&h)
	}
	for _, entry := range records {
		t := reflect.TypeOf(entry.record)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Name() == r.Name {
			p := reflect.New(t)
			counted(p.Elem(), new(uint64))
			return unsafe.Slice((*byte)(p.UnsafePointer()), t.Size())
		}
	}
	panic("no example of " + r.Name)
}

// bytesOf views a record that is used in place.
func bytesOf[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

func sampleHeader() *Header {
	h := &Header{Base: 0x4400_0000_0000, Window: 64 << 20, Secret: 0x0123456789abcdef, Created: 1_700_000_000_000_000_000, Tag: 0xbeef}
	copy(h.SpaceID[:], "sixteen-byte-id.")
	return h
}

func sampleAnchor() *Anchor {
	h := sampleHeader()
	first := FirstExtent(h.Window)
	a := &Anchor{SpaceID: h.SpaceID, Sequence: 7, Version: 42, State: h.Base + first + 0x40, Carved: first + 2*ExtentSize, Limit: 48 << 20, UnixNano: h.Created + 1, Clean: 1}
	for i := range a.Stacks {
		a.Stacks[i] = uint64(i) << ExtentShift
	}
	return a
}

func sampleIdentity() *LiveIdentity {
	id := &LiveIdentity{SpaceID: sampleHeader().SpaceID, HeapDev: 0xfe00, HeapInode: 1001, LiveDev: 0xfe00, LiveInode: 1002}
	copy(id.Boot[:], "00112233-4455-6677-8899-aabbccddeeff")
	return id
}

// annotate renders a record: one line for each field, with at most 64 of its
// bytes.
func annotate(r Record, b []byte) string {
	const most = 64
	var s strings.Builder
	fmt.Fprintf(&s, "%s: %d bytes\n", r.Name, r.Size)
	for _, f := range r.Fields {
		field := b[f.Offset : f.Offset+f.Size]
		more := ""
		if len(field) > most {
			field, more = field[:most], "…"
		}
		name := f.Name
		if name == "_" {
			name = "unused"
		}
		fmt.Fprintf(&s, "%06x-%06x: %s%s # %s %s", f.Offset, f.Offset+f.Size, hex.EncodeToString(field), more, name, f.Type)
		if f.Doc != "" {
			s.WriteString(": " + f.Doc)
		}
		s.WriteString("\n")
	}
	return s.String()
}

func TestRecords_Golden(t *testing.T) {
	for _, r := range Records() {
		t.Run(r.Name, func(t *testing.T) {
			path := filepath.Join("testdata", strings.ToLower(r.Name)+".golden")
			got := annotate(r, sample(r))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the bytes of %s are not those of %s. If the format is to change, so must FormatVersion; then run: go test ./internal/format -update\ngot:\n%s", r.Name, path, got)
			}
		})
	}
}

// goldenBytes reads the bytes of a golden file of which no field is cut.
func goldenBytes(t *testing.T, name string, size int) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 0, size)
	for _, line := range strings.Split(string(text), "\n") {
		_, rest, found := strings.Cut(line, ": ")
		digits, _, ok := strings.Cut(rest, " # ")
		if !found || !ok {
			continue
		}
		if strings.HasSuffix(digits, "…") {
			t.Fatalf("%s: a field is cut", name)
		}
		field, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, field...)
	}
	return append(b, make([]byte, size-len(b))...)
}

func TestDecodeHeader_Golden(t *testing.T) {
	got, err := DecodeHeader(goldenBytes(t, "header", PageSize))
	if err != nil {
		t.Fatal(err)
	}
	want := sampleHeader()
	want.Encode()
	if *got != *want {
		t.Errorf("decoded %+v, want %+v", got, want)
	}
}

func TestDecodeState_Golden(t *testing.T) {
	payload := goldenBytes(t, "state", StateSize)
	b := make([]byte, HeaderSize, HeaderSize+StateSize)
	binary.LittleEndian.PutUint32(b[4:], uint32(StateSize))
	binary.LittleEndian.PutUint64(b[8:], MakeMeta(0x0101, KindState, ClassFor(ByteCount(StateSize))))
	b = append(b, payload...)
	const off = 0x1234560
	binary.LittleEndian.PutUint32(b, BlockSum(b, off))
	version, err := DecodeState(b, off)
	if err != nil || version != 0x0101 {
		t.Errorf("DecodeState: version %#x, %v", version, err)
	}
	if _, err := DecodeState(b, off+16); err == nil {
		t.Error("a state is taken for one in another place")
	}
}

func TestLiveIdentity_Golden(t *testing.T) {
	page := goldenBytes(t, "liveidentity", PageSize)
	if err := sampleIdentity().Matches(page); err != nil {
		t.Error(err)
	}
	other := sampleIdentity()
	other.LiveInode++
	if err := other.Matches(page); err == nil {
		t.Error("the identity of another file matches")
	}
}
