package everheap_test

import (
	"bytes"
	"context"
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

// All operations of a sorted map, in each encoding.
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
				t.Errorf("a deleted entry: %v", err)
			}
			if err := in.Append(s, e.number(1)); err == nil {
				t.Error("something was appended to a map")
			}
			err = in.SetAll(s, func(yield func(k, v []byte) bool) {
				_ = yield(e.text("one"), e.number(1)) && yield(e.text("two"), []byte("no number"))
			})
			if err == nil {
				t.Error("a value that is not a number was stored")
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

// A value of the wrong type is an error with its place.
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

// Has, Rank and Nth agree with those of a Sorted.
func TestEncoded_RanksAreThoseOfTheMap(t *testing.T) {
	for _, e := range encodings {
		s := spacetest.Scratch(t)
		m, err := everheap.OpenSorted[string, int](s, "m")
		spacetest.Must(t, err)
		for i, w := range []string{"bee", "ant", "dog", "cat"} {
			spacetest.Must(t, m.Set(s, w, i))
		}
		c, err := s.Collection("m")
		spacetest.Must(t, err)
		in := c.As(e.Encoding)
		for _, w := range []string{"", "ant", "b", "cat", "dogs"} {
			has, err := in.Has(s, e.text(w))
			spacetest.Must(t, err)
			n, err := in.Rank(s, e.text(w))
			spacetest.Must(t, err)
			spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
				want, err := m.Has(tx, w)
				if has != want || int(n) != m.Rank(tx, w) {
					t.Errorf("%s %q: has %v, rank %d; want %v, %d", e.name, w, has, n, want, m.Rank(tx, w))
				}
				return err
			}))
		}
		key, value, err := in.Nth(s, 2)
		if string(key) != string(e.text("cat")) || string(value) != string(e.number(3)) || err != nil {
			t.Errorf("%s: the entry with two before it is %q: %q (%v)", e.name, key, value, err)
		}
		if _, _, err := in.Nth(s, 4); !errors.Is(err, everheap.ErrNotFound) {
			t.Errorf("%s: the entry after the last: %v", e.name, err)
		}
	}
}

// A list has ranks, too; a map and a single value have none.
func TestEncoded_RanksOfOtherKinds(t *testing.T) {
	s := spacetest.Scratch(t)
	for name, spec := range map[string]string{"list": "[]int", "map": "map[string]int", "ref": "*int"} {
		_, err := s.Create(name, spec)
		spacetest.Must(t, err)
	}
	list, err := s.Collection("list")
	spacetest.Must(t, err)
	in := list.As(everheap.JSON)
	spacetest.Must(t, in.Append(s, []byte("5"), []byte("6")))
	if k, v, err := in.Nth(s, 1); string(k) != "1" || string(v) != "6" || err != nil {
		t.Errorf("element 1: %s, %s, %v", k, v, err)
	}
	if n, err := in.Rank(s, []byte("7")); n != 2 || err != nil {
		t.Errorf("the rank of 7 in a list of two: %d, %v", n, err)
	}
	for _, name := range []string{"map", "ref"} {
		c, err := s.Collection(name)
		spacetest.Must(t, err)
		if _, _, err := c.As(everheap.JSON).Nth(s, 0); err == nil {
			t.Errorf("a %s has ranks", name)
		}
	}
}

// Watch yields the same encoded values as the collection returns.
func TestEncoded_Watch(t *testing.T) {
	for _, e := range encodings {
		s := spacetest.Scratch(t)
		c, err := s.Create("m", "map[string]int")
		spacetest.Must(t, err)
		in := c.As(e.Encoding)
		spacetest.Must(t, in.Set(s, e.text("a"), e.number(1)))
		var got []string
		for ch, err := range in.Watch(t.Context(), everheap.WithInitial()) {
			spacetest.Must(t, err)
			got = append(got, fmt.Sprintf("%q %q %q", ch.Key, ch.Old, ch.New))
			if len(got) == 3 {
				break
			}
			if len(got) == 1 {
				spacetest.Must(t, in.Set(s, e.text("a"), e.number(2)))
				continue
			}
			_, err := in.Delete(s, e.text("a"))
			spacetest.Must(t, err)
		}
		want := []string{
			fmt.Sprintf("%q %q %q", e.text("a"), "", e.number(1)),
			fmt.Sprintf("%q %q %q", e.text("a"), e.number(1), e.number(2)),
			fmt.Sprintf("%q %q %q", e.text("a"), e.number(2), ""),
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", e.name, got, want)
		}
	}
}

// An error that a loop raises in another goroutine than the transaction's is an error there.
func TestTx_GuardInAnotherGoroutine(t *testing.T) {
	s := spacetest.Scratch(t)
	c, err := s.Create("m", "map[string]int")
	spacetest.Must(t, err)
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
		done := make(chan error)
		go func() {
			done <- tx.Guard(func() error {
				for range c.As(everheap.JSON).Range(tx, everheap.Unbounded[[]byte](), everheap.Unbounded[[]byte]()) {
				}
				return nil
			})
		}()
		if err := <-done; err == nil {
			t.Error("a map without an order has a range")
		}
		return nil
	}))
}

// A collection without a name is found by its ID, while a handle refers to it.
func TestNewCollection(t *testing.T) {
	s := spacetest.Scratch(t)
	type node struct{ Next everheap.Ref[int] }
	ref, err := everheap.OpenRef[node](s, "head", node{})
	spacetest.Must(t, err)
	spacetest.Must(t, s.Update(t.Context(), func(tx *everheap.Tx) error {
		c, err := tx.NewCollection("*int")
		if err != nil {
			return err
		}
		if err := c.SetJSON(tx, nil, []byte("42")); err != nil {
			return err
		}
		head, err := s.Collection("head")
		if err != nil {
			return err
		}
		return head.As(everheap.Binary).Set(tx, nil, binary.LittleEndian.AppendUint64(nil, uint64(c.ID())))
	}))
	v, err := ref.Get(s)
	spacetest.Must(t, err)
	if n, err := v.Next.Get(s); n != 42 || err != nil {
		t.Errorf("it holds %d: %v", n, err)
	}
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
		c, err := tx.CollectionOf(v.Next.ID())
		if err != nil {
			return err
		}
		if c.Kind() != "ref" || c.ValueType() != "int" {
			t.Errorf("it is a %s of %s", c.Kind(), c.ValueType())
		}
		_, err = tx.NewCollection("*int")
		if !errors.Is(err, everheap.ErrReadOnly) {
			t.Errorf("created in a View: %v", err)
		}
		return nil
	}))
}

// Peek borrows the bytes of strings and byte slices only.
func TestCollection_Peek(t *testing.T) {
	s := spacetest.Scratch(t)
	m, err := everheap.OpenMap[string, []byte](s, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "a", []byte("borrowed")))
	spacetest.Must(t, m.Set(s, "empty", nil))
	other, err := s.Create("other", "*int")
	spacetest.Must(t, err)
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	spacetest.Must(t, s.Update(t.Context(), func(tx *everheap.Tx) error {
		b, err := c.Peek(tx, everheap.JSON, []byte(`"a"`))
		if err != nil {
			return err
		}
		for range 100 { // the block that is borrowed is not used again in this transaction
			if err := m.Set(tx, "a", []byte("replaced")); err != nil {
				return err
			}
		}
		if string(b) != "borrowed" {
			t.Errorf("it became %q", b)
		}
		if b, err := c.Peek(tx, everheap.JSON, []byte(`"empty"`)); len(b) != 0 || err != nil {
			t.Errorf("an empty one: %q, %v", b, err)
		}
		if _, err := c.Peek(tx, everheap.JSON, []byte(`"b"`)); !errors.Is(err, everheap.ErrNotFound) {
			t.Errorf("a missing one: %v", err)
		}
		if _, err := other.Peek(tx, everheap.JSON, nil); err == nil {
			t.Error("an int has bytes to borrow")
		}
		return nil
	}))
}

// Entries parsed outside of a transaction are stored in one, up to the first unstorable one.
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
			// With a space all entries are stored or none; with a transaction those before the bad one.
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

// What is remembered of a version is nothing for another one: neither the entries nor the types.
func TestEncoded_VersionsInTurns(t *testing.T) {
	s := spacetest.Scratch(t)
	m, err := everheap.OpenMap[string, int32](s, "m")
	spacetest.Must(t, err)
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	e := encodings[1]
	in := c.As(e.Encoding)
	number := func(n int) []byte { return e.number(n)[:4] }
	get := func(sc everheap.Scope, key string, want int, found bool) {
		t.Helper()
		for range 3 { // the second time something is remembered
			v, is, err := in.GetTo(sc, []byte{7}, e.text(key))
			has, hasErr := in.Has(sc, e.text(key))
			if err != nil || hasErr != nil || is != found || has != found {
				t.Fatalf("%s: %v, %v, %v, %v; not %v", key, is, has, err, hasErr, found)
			}
			if found && !bytes.Equal(v, append([]byte{7}, number(want)...)) || !found && len(v) != 1 {
				t.Fatalf("%s is %v, and not %d", key, v, want)
			}
		}
	}
	get(s, "a", 0, false)
	for i := range 20 {
		spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
			spacetest.Must(t, in.Set(s, e.text("a"), number(i)))
			spacetest.Must(t, m.Set(s, fmt.Sprint(i), int32(i)))
			get(tx, "a", i-1, i > 0)
			get(s, "a", i, true)
			get(tx, fmt.Sprint(i), 0, false)
			get(s, fmt.Sprint(i), i, true)
			return nil
		}))
		get(s, "a", i, true)
	}
	boom := errors.New("boom")
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		spacetest.Must(t, in.Set(tx, e.text("a"), number(99)))
		get(tx, "a", 99, true)
		get(s, "a", 19, true)
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	get(s, "a", 19, true)
	spacetest.Must(t, s.EvolveCollection("m", "map[string]int64"))
	for range 3 {
		if _, _, err := in.GetTo(s, nil, e.text("a")); !errors.Is(err, everheap.ErrTypeChanged) {
			t.Fatalf("other types: %v", err)
		}
	}
	spacetest.ExpectError(t, in.Set(s, e.text("a"), number(1)), everheap.ErrTypeChanged, "the types of m have changed")
}
