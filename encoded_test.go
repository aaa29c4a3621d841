package everheap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// encodings are all encodings, with the forms of a string and of an int.
var encodings = []struct {
	name string
	everheap.Encoding
	text   func(s string) []byte
	number func(n int) []byte
}{
	{"JSON", everheap.JSON, func(s string) []byte { return fmt.Appendf(nil, "%q", s) }, func(n int) []byte { return fmt.Append(nil, n) }},
	{"binary", everheap.Binary, func(s string) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...)
	}, func(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }},
}

// collect returns the keys and values of a loop in a View.
func collectEntries(t *testing.T, s *everheap.Space, loop func(tx *everheap.Tx) iter.Seq2[[]byte, []byte]) (list [][2]string) {
	t.Helper()
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
		for k, v := range loop(tx) {
			list = append(list, [2]string{string(k), string(v)})
		}
		return nil
	}))
	return list
}

// All that can be done with a sorted map, in each encoding.
func TestEncoded_Sorted(t *testing.T) {
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			s := spacetest.Scratch(t)
			m, err := everheap.OpenSorted[string, int](s, "m")
			spacetest.Must(t, err)
			c, err := s.Collection("m")
			spacetest.Must(t, err)
			in := c.As(e.Encoding)
			words := []string{"ant", "bee", "bird", "cat", "dog"}
			spacetest.Must(t, in.SetAll(s, func(yield func(k, v []byte) bool) {
				for i, w := range words {
					if !yield(e.text(w), e.number(i)) {
						return
					}
				}
			}))
			if v, err := m.Get(s, "cat"); v != 3 || err != nil {
				t.Errorf("cat is %d: %v", v, err)
			}
			want := func(from, to int) (list [][2]string) {
				for i := from; i < to; i++ {
					list = append(list, [2]string{string(e.text(words[i])), string(e.number(i))})
				}
				return list
			}
			from, to := everheap.Including(e.text("bee")), everheap.Excluding(e.text("cat"))
			none := everheap.Unbounded[[]byte]()
			backward := want(1, 3)
			slices.Reverse(backward)
			for name, c := range map[string]struct {
				loop func(tx *everheap.Tx) iter.Seq2[[]byte, []byte]
				want [][2]string
			}{
				"all":   {in.All, want(0, 5)},
				"range": {func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] { return in.Range(tx, from, to) }, want(1, 3)},
				"behind": {func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] {
					return in.Range(tx, everheap.Excluding(e.text("bee")), everheap.Including(e.text("cat")))
				}, want(2, 4)},
				"from":      {func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] { return in.Range(tx, from, none) }, want(1, 5)},
				"backward":  {func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] { return in.Backward(tx, from, to) }, backward},
				"prefix":    {func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] { return in.Prefix(tx, "b") }, want(1, 3)},
				"no prefix": {func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] { return in.Prefix(tx, "bx") }, nil},
			} {
				if got := collectEntries(t, s, c.loop); !slices.Equal(got, c.want) {
					t.Errorf("%s: %q, not %q", name, got, c.want)
				}
			}
			values, err := in.GetAll(s, e.text("dog"), e.text("cow"), e.text("ant"))
			if err != nil || !bytes.Equal(values[0], e.number(4)) || values[1] != nil || !bytes.Equal(values[2], e.number(0)) {
				t.Errorf("several values: %q, %v", values, err)
			}
			if removed, err := in.Delete(s, e.text("ant")); !removed || err != nil {
				t.Errorf("deleted: %v, %v", removed, err)
			}
			if _, err := in.Get(s, e.text("ant")); !errors.Is(err, everheap.ErrNotFound) {
				t.Errorf("what was deleted: %v", err)
			}
			if err := in.Append(s, e.number(1)); err == nil {
				t.Error("something was appended to a map")
			}
			err = in.SetAll(s, func(yield func(k, v []byte) bool) {
				_ = yield(e.text("one"), e.number(1)) && yield(e.text("two"), []byte("no number"))
			})
			if err == nil {
				t.Error("a value that is no number was stored")
			}
			if n, err := m.Len(s); n != 4 || err != nil {
				t.Errorf("%d entries after a batch that failed: %v", n, err)
			}
		})
	}
}

// A list and a single value, in each encoding.
func TestEncoded_ListAndValue(t *testing.T) {
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			s := spacetest.Scratch(t)
			list, err := everheap.OpenList[string](s, "list")
			spacetest.Must(t, err)
			c, err := s.Collection("list")
			spacetest.Must(t, err)
			in := c.As(e.Encoding)
			spacetest.Must(t, in.Append(s, e.text("a"), e.text("b"), e.text("c"), e.text("d")))
			spacetest.Must(t, in.Set(s, e.number(1), e.text("B")))
			spacetest.Must(t, in.Set(s, e.number(4), e.text("e")))
			if v, err := list.Get(s, 1); v != "B" || err != nil {
				t.Errorf("element 1 is %q: %v", v, err)
			}
			values := func(loop func(tx *everheap.Tx) iter.Seq2[[]byte, []byte]) (text string) {
				for _, p := range collectEntries(t, s, loop) {
					text += p[1]
				}
				return text
			}
			want := func(words ...string) (text string) {
				for _, w := range words {
					text += string(e.text(w))
				}
				return text
			}
			from, to := everheap.Excluding(e.number(0)), everheap.Including(e.number(3))
			if got := values(func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] { return in.Range(tx, from, to) }); got != want("B", "c", "d") {
				t.Errorf("a range is %q", got)
			}
			if got := values(func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] {
				return in.Backward(tx, everheap.Including(e.number(-5)), everheap.Excluding(e.number(2)))
			}); got != want("B", "a") {
				t.Errorf("backward it is %q", got)
			}
			// A loop sees the list as it was, whatever its body does.
			spacetest.Update(t, s, func(tx *everheap.Tx) error {
				n := 0
				for i := range in.Range(tx, everheap.Unbounded[[]byte](), everheap.Unbounded[[]byte]()) {
					n++
					if err := in.Set(tx, i, e.text("x")); err != nil {
						return err
					}
					if err := in.Append(tx, e.text("y")); err != nil {
						return err
					}
				}
				if n != 5 {
					t.Errorf("the loop saw %d elements", n)
				}
				return nil
			})
			if got := values(in.All); got != want("x", "x", "x", "x", "x", "y", "y", "y", "y", "y") {
				t.Errorf("then it is %q", got)
			}
			ref, err := everheap.OpenRef(s, "one", 7)
			spacetest.Must(t, err)
			one, err := s.Collection("one")
			spacetest.Must(t, err)
			spacetest.Must(t, one.As(e.Encoding).Set(s, nil, e.number(8)))
			if v, err := ref.Get(s); v != 8 || err != nil {
				t.Errorf("the value is %d: %v", v, err)
			}
			if v, err := one.As(e.Encoding).Get(s, nil); !bytes.Equal(v, e.number(8)) || err != nil {
				t.Errorf("the value is %q: %v", v, err)
			}
			err = s.View(func(tx *everheap.Tx) error {
				for range one.As(e.Encoding).Range(tx, from, to) {
				}
				return nil
			})
			if err == nil {
				t.Error("a single value has a range")
			}
		})
	}
}

// What does not fit is an error that says where.
func TestEncoded_Errors(t *testing.T) {
	s := spacetest.Scratch(t)
	_, err := everheap.OpenMap[string, int](s, "m")
	spacetest.Must(t, err)
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	in := c.As(everheap.Binary)
	err = in.Set(s, []byte{9, 0, 0, 0, 'a'}, nil)
	if e := (*everheap.BinaryError)(nil); !errors.As(err, &e) || e.Part != "key" || e.Offset != 4 || e.Type != "string" {
		t.Errorf("%v", err)
	}
	err = in.Set(s, encodings[1].text("a"), []byte{1})
	if e := (*everheap.BinaryError)(nil); !errors.As(err, &e) || e.Part != "value" || e.Offset != 0 {
		t.Errorf("%v", err)
	}
	for _, loop := range []func(tx *everheap.Tx) iter.Seq2[[]byte, []byte]{
		func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] {
			return in.Range(tx, everheap.Unbounded[[]byte](), everheap.Unbounded[[]byte]())
		},
		func(tx *everheap.Tx) iter.Seq2[[]byte, []byte] { return in.Prefix(tx, "a") },
	} {
		err := s.View(func(tx *everheap.Tx) error {
			for range loop(tx) {
			}
			return nil
		})
		if err == nil {
			t.Errorf("a map has an order: %v", err)
		}
	}
}

// What was parsed outside of a transaction is stored in one, up to what cannot be stored.
func TestCollection_StoresWhatWasParsed(t *testing.T) {
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			s := spacetest.Scratch(t)
			list, err := s.Create("list", "[]int")
			spacetest.Must(t, err)
			m, err := s.Create("m", "map[float64]int")
			spacetest.Must(t, err)
			var entries []everheap.Entry
			for i := range 3 {
				entry, err := list.As(e.Encoding).Parse(nil, e.number(i))
				spacetest.Must(t, err)
				entries = append(entries, entry)
			}
			entry, err := list.As(e.Encoding).Parse(e.number(1), e.number(10))
			spacetest.Must(t, err)
			n, err := list.Store(s, append(entries, entry)...)
			spacetest.Must(t, err)
			got, err := list.As(everheap.JSON).GetAll(s, []byte("0"), []byte("1"), []byte("2"), []byte("3"))
			spacetest.Must(t, err)
			if want := "0 10 2 "; n != 4 || string(bytes.Join(got, []byte(" "))) != want {
				t.Errorf("stored %d: %q, want %q", n, got, want)
			}
			if _, err := list.As(e.Encoding).Parse(nil, []byte("x")); err == nil {
				t.Error("nonsense is parsed")
			}
			if _, err := m.As(e.Encoding).Parse(nil, e.number(1)); err == nil {
				t.Error("an entry of a map has no key")
			}
			if _, err := m.Store(s, everheap.Entry{}); err == nil {
				t.Error("an entry that was not parsed is stored")
			}
			// With a space all are stored or none; with a transaction those before the bad one.
			mixed := []everheap.Entry{}
			for _, key := range []string{"1", `"NaN"`, "2"} {
				entry, err := m.As(everheap.JSON).Parse([]byte(key), []byte("1"))
				spacetest.Must(t, err)
				mixed = append(mixed, entry)
			}
			if n, err := m.Store(s, mixed...); n != 1 || !errors.Is(err, everheap.ErrNaN) {
				t.Errorf("stored %d, %v", n, err)
			}
			if n, err := m.Len(s); n != 0 || err != nil {
				t.Errorf("%d entries, %v", n, err)
			}
			spacetest.Must(t, s.Update(t.Context(), func(tx *everheap.Tx) error {
				n, err := m.Store(tx, mixed...)
				if n != 1 || !errors.Is(err, everheap.ErrNaN) {
					t.Errorf("stored %d, %v", n, err)
				}
				_, err = m.Store(tx, mixed[2:]...)
				return err
			}))
			if n, err := m.Len(s); n != 2 || err != nil {
				t.Errorf("%d entries, %v", n, err)
			}
		})
	}
}

func TestCollection_DescribesItsTypes(t *testing.T) {
	s := spacetest.Scratch(t)
	c, err := s.Create("m", "sorted[[2]int8]Node; type Node struct { Name string; Next *Node; Raw []byte; Of everheap.Map[int, bool] }")
	spacetest.Must(t, err)
	key, value := c.KeyInfo(), c.ValueInfo()
	if key.Kind != "array" || key.Len != 2 || key.Elem.Kind != "int8" || key.Name != "[2]int8" {
		t.Errorf("the key is %+v", key)
	}
	kinds := ""
	for _, f := range value.Fields {
		kinds += f.Name + " " + f.Type.Kind + "; "
	}
	if want := "Name string; Next pointer; Raw slice; Of Map; "; kinds != want || value.Kind != "struct" || value.Name != "main.Node" {
		t.Errorf("the value is %+v with %s, want %s", value, kinds, want)
	}
	if value.Fields[1].Type.Elem != value || value.Fields[3].Type.Key.Kind != "int" || value.Fields[3].Type.Elem.Kind != "bool" {
		t.Error("the types are not linked")
	}
	single, err := s.Create("v", "*int")
	spacetest.Must(t, err)
	if single.KeyInfo() != nil {
		t.Error("a single value has keys")
	}
}
