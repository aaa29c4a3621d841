package everheap_test

import (
	"bytes"
	"container/list"
	rings "container/ring"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"math/big"
	oldrand "math/rand"
	"math/rand/v2"
	"net"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unique"
	"unsafe"
	"weak"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/spacetest"
)

// ownNode is a struct with pointers that are not exported.
type ownNode struct {
	//lint:ignore U1000 the test looks at it by reflection
	next *ownNode
	Prev *ownNode
	N    int
}

// documented has the rows of the table of types in VALUES.md.
var documented = []struct {
	row    string
	stored string
	types  []reflect.Type
}{
	{"`bool`, all numbers, `string`, `[]byte`", "field by field", types(false, 1, int8(1), uint64(1), float32(1), 1.5, complex(1, 1), "", []byte{})},
	{"your own structs, with pointers, exported or not", "field by field", types(ownNode{})},
	{"`time.Time`, `time.Duration`", "field by field", types(time.Time{}, time.Second)},
	{"`*time.Location`", "no", types(time.UTC)},
	{"`net.IP`, `net.IPNet`, `net.HardwareAddr`", "field by field", types(net.IP{}, net.IPNet{}, net.HardwareAddr{})},
	{"`netip.Addr`, `netip.AddrPort`, `netip.Prefix`", "by its bytes", types(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})},
	{"`url.URL`, `mail.Address`", "field by field", types(url.URL{}, mail.Address{})},
	{"`big.Int`, `big.Rat`, `big.Float`", "field by field", types(big.Int{}, big.Rat{}, big.Float{})},
	{"`bytes.Buffer`, `bytes.Reader`, `strings.Reader`", "field by field", types(bytes.Buffer{}, bytes.Reader{}, strings.Reader{})},
	{"`strings.Builder`", "no", types(struct{ B *strings.Builder }{})},
	{"`json.RawMessage`, `json.Number`", "field by field", types(json.RawMessage{}, json.Number(""))},
	{"`sql.NullString`, `sql.Null[T]`", "field by field", types(sql.NullString{}, sql.Null[time.Time]{})},
	{"`regexp.Regexp`", "by its bytes", types(&regexp.Regexp{})},
	{"`rand.PCG` of `math/rand/v2`, its `ChaCha8`", "field by field", types(rand.PCG{}, rand.ChaCha8{})},
	{"`rand.Rand`", "no", types(&oldrand.Rand{}, &rand.Rand{})},
	{"`unique.Handle[T]`", "no", types(unique.Handle[string]{}, []unique.Handle[int]{})},
	{"`weak.Pointer[T]`", "no", types(weak.Pointer[int]{})},
	{"`list.List`, `ring.Ring`", "no", types(list.List{}, rings.Ring{})},
	{"`everheap.Dict[K, V]`", "field by field", types(everheap.Dict[string, []int]{})},
	{"`map[K]V`, `http.Header`, `url.Values`", "as a table, copied only", types(map[string]int{}, http.Header{}, url.Values{})},
	{"`chan T`", "no", types(make(chan int))},
	{"`func()`", "no", types(func() {})},
	{"`any`, `error` and your own interfaces, with a registered type", "with its type, copied only", []reflect.Type{reflect.TypeFor[any](), reflect.TypeFor[error](), reflect.TypeFor[Shape](), reflect.TypeFor[[]any]()}},
	{"interfaces that no registered type implements", "no", []reflect.Type{reflect.TypeFor[net.Addr](), reflect.TypeFor[io.Reader]()}},
	{"`uintptr`, `unsafe.Pointer`", "no", types(uintptr(0), unsafe.Pointer(nil))},
	{"`sync.Mutex`, `sync.Once`, `sync.Map`", "no", types(&sync.Mutex{}, &sync.Once{}, &sync.Map{})},
	{"`atomic.Int64`, `atomic.Pointer[T]`, `atomic.Value`", "no", types(&atomic.Int64{}, &atomic.Pointer[int]{}, &atomic.Value{})},
	{"`reflect.Value`, `reflect.Type`", "no", []reflect.Type{reflect.TypeFor[reflect.Value](), reflect.TypeFor[reflect.Type]()}},
	{"`os.File`", "no", types(os.File{})},
	{"`maphash.Seed`", "no", types(maphash.Seed{})},
	{"`context.Context`", "no", []reflect.Type{reflect.TypeFor[context.Context]()}},
	{"`slog.LevelVar`", "no", types(&slog.LevelVar{})},
	{"your own type with a map, and `MarshalText` and `UnmarshalText`", "by its bytes", types(tags{})},
	{"your own struct with unexported pointers, and both methods", "by its bytes", types(shade{})},
}

func types(values ...any) (list []reflect.Type) {
	for _, v := range values {
		list = append(list, reflect.TypeOf(v))
	}
	return list
}

// Each row of the table in VALUES.md is true.
func TestValuesDocument(t *testing.T) {
	text, err := os.ReadFile("VALUES.md")
	spacetest.Must(t, err)
	rows := map[string]string{}
	_, table, _ := strings.Cut(string(text), "## Types\n")
	table, _, _ = strings.Cut(table, "\n## Pointers")
	for _, line := range strings.Split(table, "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 5 && !strings.Contains(line, "---") {
			rows[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[2])
		}
	}
	delete(rows, "type")
	for _, d := range documented {
		if rows[d.row] != d.stored {
			t.Errorf("the document says of %s: %q, the test says %q", d.row, rows[d.row], d.stored)
		}
		delete(rows, d.row)
		for _, rt := range d.types {
			typ, err := layout.Of(rt)
			got := "field by field"
			switch {
			case errors.As(err, new(*layout.UnstorableError)):
				got = "no"
			case err != nil:
				t.Fatal(err)
			case typ.CopyOnly() != nil && rt.Kind() != reflect.Map:
				got = "with its type, copied only"
			case typ.CopyOnly() != nil:
				got = "as a table, copied only"
			case typ.Coded():
				got = "by its bytes"
			}
			if got != d.stored {
				t.Errorf("%s is stored: %s (%v); the document says %s", rt, got, err, d.stored)
			}
		}
	}
	for row := range rows {
		t.Errorf("nothing looks at %s", row)
	}
}

// box is a type with a field of any type.
type box[T any] struct{ F T }

// fieldRow is a row of the table of fields in VALUES.md.
type fieldRow struct {
	cells []string // the type, the result of Peek, the value as JSON, its evolution
	prove func(t *testing.T, s *everheap.Space, name string, row fieldRow)
}

// field returns the row of a type; v is the value, and to is the evolved value.
func field[T, To any](name, peek string, v T, asJSON, evolves string, to To) fieldRow {
	return fieldRow{[]string{name, peek, "`" + asJSON + "`", evolves}, func(t *testing.T, s *everheap.Space, name string, row fieldRow) {
		m := mapCalled[string, box[T]](t, s, name)
		spacetest.Must(t, m.Set(s, "k", box[T]{v}))
		got, err := m.Get(s, "k")
		spacetest.Must(t, err)
		wantSame(t, "Get", got, box[T]{v})
		if got := peeked(s, m); got != peek {
			t.Errorf("Peek gives: %s; the document says %s", got, peek)
		}
		c, err := s.Collection(name)
		spacetest.Must(t, err)
		text := func() string {
			b, err := c.As(everheap.JSON).Get(s, []byte(`"k"`))
			spacetest.Must(t, err)
			return string(b)
		}
		want := `{"F":` + asJSON + `}`
		if got := text(); got != want {
			t.Errorf("JSON is %s; the document says %s", got, want)
		}
		spacetest.Must(t, c.As(everheap.JSON).Set(s, []byte(`"k"`), []byte(want)))
		got, err = m.Get(s, "k")
		spacetest.Must(t, err)
		wantSame(t, "Get of what was set as JSON", got, box[T]{v})
		if evolves == "" {
			return
		}
		if _, err := everheap.OpenMap[string, box[To]](s, name); !errors.Is(err, everheap.ErrTypeChanged) {
			t.Errorf("without Evolve: %v", err)
		}
		changed, err := everheap.OpenMap[string, box[To]](s, name, everheap.Evolve())
		spacetest.Must(t, err)
		after, err := changed.Get(s, "k")
		spacetest.Must(t, err)
		wantSame(t, "Get after Evolve", after, box[To]{to})
		if rt := reflect.TypeFor[To]().String(); !strings.Contains(evolves, "`"+rt+"`") {
			t.Errorf("Evolve made %s; the document says %s", rt, evolves)
		}
	}}
}

// mapCalled opens a map.
func mapCalled[K comparable, V any](t *testing.T, s *everheap.Space, name string) everheap.Map[K, V] {
	t.Helper()
	m, err := everheap.OpenMap[K, V](s, name)
	spacetest.Must(t, err)
	return m
}

// peeked describes the result of Peek for the key k.
func peeked[T any](s *everheap.Space, m everheap.Map[string, box[T]]) (what string) {
	err := s.View(func(tx *everheap.Tx) error {
		first, second := m.Peek(tx, "k"), m.Peek(tx, "k")
		if what = "a copy"; first == second {
			what = "itself"
		}
		return nil
	})
	if errors.Is(err, everheap.ErrUnstorable) {
		return "refused"
	}
	return what
}

// pointerTo returns a pointer to a value of its own.
func pointerTo[T any](v T) *T { return &v }

// fieldRows are the rows of the table of fields in VALUES.md.
var fieldRows = []fieldRow{
	field("`bool`", "itself", true, `true`, "", 0),
	field("`int8`", "itself", int8(-7), `-7`, "`int64`, and other wider numbers", int64(-7)),
	field("`float32`", "itself", float32(1.5), `1.5`, "`float64`", 1.5),
	field("`complex64`", "itself", complex64(1-2i), `[1,-2]`, "`complex128`", 1-2i),
	field("`string`", "itself", "a\n", `"a\n"`, "`*string`: any type but a pointer becomes one to it", pointerTo("a\n")),
	field("`[]byte`", "itself", []byte{1, 2}, `"AQI="`, "", 0),
	field("`[]int8`", "itself", []int8{1, 2}, `[1,2]`, "`[]int`, as its elements do", []int{1, 2}),
	field("`[]int8`, nil", "itself", []int8(nil), `null`, "`[]int`, nil", []int(nil)),
	field("`[]int8`, empty", "itself", []int8{}, `[]`, "`[]int`, empty", []int{}),
	field("`[2]int8`", "itself", [2]int8{1, 2}, `[1,2]`, "`[]int8`, or a longer array", []int8{1, 2}),
	field("`[4]byte`, as UUIDs are", "itself", [4]byte{1, 2, 3, 4}, `"AQIDBA=="`, "`[]uint8`", []byte{1, 2, 3, 4}),
	field("`struct{}`", "itself", struct{}{}, `{}`, "", 0),
	field("`*int8`", "itself", pointerTo(int8(3)), `3`, "`*int`, as its target does", pointerTo(3)),
	field("`*int8`, nil", "itself", (*int8)(nil), `null`, "`*int`, nil", (*int)(nil)),
	field("`time.Time`", "itself", time.Unix(1, 5).UTC(), `"1970-01-01T00:00:01.000000005Z"`, "", 0),
	field("`time.Duration`", "itself", time.Second, `1000000000`, "`int64`", int64(1e9)),
	field("`json.RawMessage`", "itself", json.RawMessage(`{}`), `"e30="`, "`[]uint8`", []byte(`{}`)),
	field("`big.Int`", "itself", *big.NewInt(-5), `{"neg":true,"abs":[5]}`, "", 0),
	field("`sql.NullString`", "itself", sql.NullString{String: "a", Valid: true}, `{"String":"a","Valid":true}`, "", 0),
	field("`netip.Addr`", "a copy", netip.MustParseAddr("10.0.0.1"), `"10.0.0.1"`, "", 0),
	field("your own, with `MarshalText`", "a copy", tags{"x": true, "y": true}, `"x y"`, "", 0),
	field("your own, with `MarshalBinary`", "a copy", shadeOf("red"), `"cmVk"`, "", 0),
	field("`everheap.Dict[string, int8]`", "itself", everheap.DictOf(map[string]int8{"b": 1, "a": 2}), `{"a":2,"b":1}`,
		"`map[string]int8`", map[string]int8{"b": 1, "a": 2}),
	field("`everheap.Dict[int, bool]`", "itself", everheap.DictOf(map[int]bool{2: true, -1: false}), `[[-1,false],[2,true]]`,
		"`map[int]bool`", map[int]bool{2: true, -1: false}),
	field("`map[string]int8`", "refused", map[string]int8{"b": 1, "a": 2}, `{"a":2,"b":1}`, "`map[string]int`, as its parts do, or a `Dict`", map[string]int{"b": 1, "a": 2}),
	field("`map[string]int8`, nil", "refused", map[string]int8(nil), `null`, "`map[string]int`, nil", map[string]int(nil)),
	field("`map[string]int8`, empty", "refused", map[string]int8{}, `{}`, "`map[string]int`, empty", map[string]int{}),
	field("`http.Header`", "refused", http.Header{"A": {"1", "2"}}, `{"A":["1","2"]}`, "`map[string][]string`", map[string][]string{"A": {"1", "2"}}),
	field("`any`, of an `int8`", "refused", any(int8(5)), `{"type":"int8","value":5}`, "", 0),
	field("`any`, nil", "refused", any(nil), `null`, "", 0),
	field("`error`, of a registered type", "refused", error(stopped{5}), `{"type":"stopped","value":{"Code":5}}`, "`interface {}`: any interface becomes any other", any(stopped{5})),
	field("`everheap.Ref[int]`, nil", "itself", everheap.Ref[int]{}, `{"$ref":"0000000000000000"}`, "", 0),
}

// The table of fields in VALUES.md has exactly these rows, and each is true.
func TestValuesDocument_Fields(t *testing.T) {
	text, err := os.ReadFile("VALUES.md")
	spacetest.Must(t, err)
	_, table, _ := strings.Cut(string(text), "## Fields\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var got, want []string
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| `") || strings.HasPrefix(line, "| your") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	s := spacetest.Scratch(t)
	for i, row := range fieldRows {
		want = append(want, strings.ReplaceAll("| "+strings.Join(row.cells, " | ")+" |", "  |", " |"))
		t.Run(row.cells[0], func(t *testing.T) { row.prove(t, s, fmt.Sprint("m", i), row) })
	}
	if !slices.Equal(got, want) {
		t.Errorf("the document has\n%s\nand the test\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// longNode is a node of a linked list.
type longNode struct {
	N    int
	Next *longNode
}

// A large value is stored whole, or refused with the reason before anything is changed.
func TestValues_Large(t *testing.T) {
	size, nodes := 100<<20, 1_000_000
	if testing.Short() {
		size, nodes = size/10, nodes/10
	}
	s := spacetest.Scratch(t)
	texts := mapCalled[string, string](t, s, "texts")
	text := strings.Repeat("0123456789abcdef", size/16+1)
	spacetest.Must(t, texts.Set(s, "large", text))
	got, err := texts.Get(s, "large")
	spacetest.Must(t, err)
	if got != text {
		t.Error("a large string has changed")
	}

	lists := mapCalled[string, *longNode](t, s, "lists")
	var first *longNode
	for i := range nodes {
		first = &longNode{i, first}
	}
	spacetest.Must(t, lists.Set(s, "long", first))
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		n := 0
		for x := *lists.Peek(tx, "long"); x != nil; x = x.Next {
			n++
		}
		if n != nodes {
			t.Errorf("%d nodes", n)
		}
		return nil
	})

	empty := mapCalled[struct{}, [3]struct{}](t, s, "empty")
	spacetest.Must(t, empty.Set(s, struct{}{}, [3]struct{}{}))
	if has, err := empty.Has(s, struct{}{}); !has || err != nil {
		t.Errorf("got %v, %v", has, err)
	}
	many := mapCalled[string, []struct{}](t, s, "many")
	spacetest.Must(t, many.Set(s, "a", make([]struct{}, 1<<20)))
	if err := many.Set(s, "a", make([]struct{}, 1<<20+1)); !errors.Is(err, everheap.ErrTooLarge) || !strings.Contains(err.Error(), "1,048,576 elements of size zero") {
		t.Errorf("got %v", err)
	}
	if got, err := many.Get(s, "a"); len(got) != 1<<20 || err != nil {
		t.Errorf("%d elements, %v", len(got), err)
	}
}
