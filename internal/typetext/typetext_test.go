package typetext_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/typetext"
)

const library = "github.com/everheap/everheap"

type (
	user struct {
		Name   string
		Age    int32 `everheap:"was=Years"`
		Tags   []string
		Mail   *string
		Friend *user
		Groups []group
		Since  time.Time
		Left   time.Duration
		Month  time.Month
		From   netip.Addr
		Nets   []netip.Prefix
		Raw    json.RawMessage
		Small  struct {
			A, B uint8
			C    complex64
		}
		Again struct {
			A, B uint8
			C    complex64
		}
		_     [3]byte
		Flags [5]bool
		Empty struct{}
	}
	group struct {
		Members everheap.Map[string, user]
		Sorted  everheap.Sorted[time.Time, *user]
		Posts   everheap.List[[]post]
		Best    everheap.Ref[post]
		Days    everheap.Map[netip.Addr, [3]time.Duration]
		Inner   everheap.Map[string, everheap.List[post]]
		Odd     everheap.List[struct {
			A int `everheap:"was=B"`
			B []byte
		}]
		None everheap.List[struct{}]
	}
	post struct {
		ID    everheap.ID
		Text  string
		Reply []post
	}
	id     string
	ids    []id
	node   *node
	tree   []tree
	users  everheap.Map[id, user]
	myTime time.Time
	padded struct {
		A uint8
		B uint64
		C uint16
		D struct{}
	}
	aligned struct {
		_ [0]uint64
		A uint8
	}
	price struct {
		Amount *big.Int
		Rate   big.Float
	}
	attributes struct {
		By   everheap.Dict[id, attributes]
		Tags []everheap.Dict[time.Time, []string]
		At   everheap.Dict[struct{ X, Y int8 }, everheap.Map[id, attributes]]
	}
	header map[string][]string
	mapped struct {
		Header header
		Deep   map[id]map[time.Time]*mapped
		Many   everheap.Map[id, map[string]mapped]
	}
	shape interface{ Area() float64 }
	parts struct {
		Main  shape
		All   []shape
		By    map[string]any
		Err   error
		Next  *parts
		Other everheap.Map[id, any]
		Fail  everheap.Ref[error]
	}
	square         struct{}
	pair[A, B any] struct {
		A A
		B B
	}
)

func (square) Area() float64 { return 1 }
func (square) Error() string { return "square" }

func init() { everheap.Register[square]() }

// values are Go types of all kinds.
var values = []reflect.Type{
	reflect.TypeFor[int](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[user](), reflect.TypeFor[group](),
	reflect.TypeFor[post](), reflect.TypeFor[id](), reflect.TypeFor[ids](), reflect.TypeFor[node](), reflect.TypeFor[tree](),
	reflect.TypeFor[users](), reflect.TypeFor[myTime](), reflect.TypeFor[padded](), reflect.TypeFor[aligned](), reflect.TypeFor[price](),
	reflect.TypeFor[pair[string, *pair[id, user]]](), reflect.TypeFor[everheap.Map[pair[int, id], pair[id, []user]]](),
	reflect.TypeFor[[4][]*padded](), reflect.TypeFor[everheap.ID](), reflect.TypeFor[struct {
		X []struct{ Y *user }
		Z []struct{ Y *user }
	}](), reflect.TypeFor[everheap.Dict[string, user]](), reflect.TypeFor[attributes](), reflect.TypeFor[mapped](), reflect.TypeFor[header](), reflect.TypeFor[parts](), reflect.TypeFor[shape](), reflect.TypeFor[any](), reflect.TypeFor[[]error](), reflect.TypeFor[everheap.List[shape]](), reflect.TypeFor[time.Weekday](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[float32](), reflect.TypeFor[rune](),
}

// Parsing the text that Source prints for a Go type gives the descriptor of that type.
func TestParse_AsTheGoType(t *testing.T) {
	for _, rt := range values {
		t.Run(rt.String(), func(t *testing.T) {
			want, err := layout.Of(rt)
			if err != nil {
				t.Fatal(err)
			}
			s := layout.NewSource(library)
			text := "map[string]" + s.Type(want) + "\n" + strings.Join(s.Declarations(), "\n")
			c, err := typetext.Parse(text, "", library)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if got := c.Value.Encode(); !bytes.Equal(got, want.Encode()) {
				t.Errorf("the descriptor is\n%q, not\n%q\n%s", got, want.Encode(), text)
			}
			if h, _, _ := strings.Cut(c.Handle.Name(), "["); h != "everheap.Map" || c.Handle.Elem() != c.Value {
				t.Errorf("the handle is %s", c.Handle)
			}
			if c.Kind != typetext.Map || !c.Key.IsString() {
				t.Errorf("it is a %s of %v", c.Kind, c.Key)
			}
		})
	}
}

// Parse finds the collection in the package comment of a source file, and names the types by the
// package clause.
func TestParse_File(t *testing.T) {
	const text = `// Package forum has types.
//
//	users	everheap.Sorted[string, User]
//	posts	everheap.List[Post]
package forum // import "example.org/forum"

import eh "github.com/everheap/everheap"

type User struct { Name string; Posts eh.List[Post] }

type (
	Post = post
	post struct{ Text string; By *forum.User }
)
`
	c, err := typetext.Parse(text, "users", library)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Value.Fields()[1].Type.Name(), "everheap.List[example.org/forum.post]"; c.Value.Name() != "forum.User" || got != want || c.Kind != typetext.Sorted {
		t.Errorf("%s of %s with a field of type %s, not %s", c.Kind, c.Value, got, want)
	}
	if c, err = typetext.Parse(text, "posts", library); err != nil || c.Kind != typetext.List || c.Value.Name() != "forum.post" || c.Key != nil {
		t.Errorf("%v: %v", c, err)
	}
}

// Parse reads collections of each kind.
func TestParse_Kinds(t *testing.T) {
	for text, want := range map[string]string{
		"map[string]int":                                          "map string int",
		"sorted[uint64]string":                                    "sorted uint64 string",
		"// a comment\n\n(map[int]bool)":                          "map int bool",
		"[]everheap.Ref[T]; type T bool":                          "list  everheap.Ref[main.T]",
		"*struct{ A int }":                                        "ref  struct { A int }",
		"everheap.Sorted[string,T]\ntype T struct{}":              "sorted string main.T",
		"everheap.Ref[int]":                                       "ref  int",
		"sorted[string]A\ntype A B\ntype B struct{ X *A; Y []B }": "sorted string main.A",
		"[]B\ntype A B\ntype B struct{ X *A; Y []B }":             "list  main.B",
	} {
		c, err := typetext.Parse(text, "", library)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		key := ""
		if c.Key != nil {
			key = c.Key.String()
		}
		if got := fmt.Sprint(c.Kind, " ", key, " ", c.Value); got != want {
			t.Errorf("%q is %q, not %q", text, got, want)
		}
	}
}

// doubling returns aliases, each of which contains the next one twice.
func doubling(text string) string {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "\ntype A%d = "+text, i, i+1)
	}
	return b.String() + "\ntype A60 = int"
}

// Errors give the place, and what to do.
func TestParse_Errors(t *testing.T) {
	for text, want := range map[string]string{
		"":                `1:1: the text is empty; write a type such as map[string]int`,
		"int":             `1:1: a collection is map[K]V, sorted[K]V, []T, or *T for a single value`,
		"map[string]":     `1:12: expected type, found newline`,
		"map[string]User": `1:12: the type User is not declared; declare it below the type of the collection, or use one of Go, such as string`,
		"map[string]U\n\ntype U struct {\n\tA int\n\tB chan int\n}": `5:4: a channel cannot be stored; keep channels in the program, and use Watch to learn of changes`,
		"map[string]U; type U struct { A, A int }":                  `1:20: rename a field: two fields have the name A`,
		"[]T\ntype T struct{ A map[*int]int }":                      `2:18: its key type *int holds pointers or slices`,
		"map[any]int":                                               `1:5: type any cannot be a key, as the concrete type of an interface is known only with each value; use strings`,
		"map[string]map[error]int":                                  `1:12: its key type error has an interface, whose concrete type is known only with each value; use strings`,
		"map[K]int\ntype K struct {\n\tA int\n\tB [2]any\n}":        `1:5: type main.K: field B[] (any) cannot be a key, as the concrete type of an interface is known`,
		"[]T\ntype T struct {\n\tM map[K]int\n}\ntype K any":        `3:4: its key type main.K has an interface, whose concrete type is known only with each value; use strings, numbers`,
		"[]func()":                                        `1:3: a function cannot be stored; store the data that selects it`,
		"map[[]int]int":                                   `1:5: type []int cannot be a key; use strings, numbers, time.Time, and arrays and structs of those`,
		"sorted[complex64]int":                            `1:8: type complex64 cannot be the key of a Sorted`,
		"[]everheap.Map[*int, int]":                       `1:3: its key type *int holds pointers or slices; use strings, numbers and structs of those as keys`,
		"[]T\ntype T struct{ A [3]T }":                    `2:6: use a pointer: the type contains itself by value, or nests more than 1000 levels`,
		"[]T\ntype T U\ntype U T":                         `3:6: the type U stands for itself`,
		"[]T\ntype T = U\ntype U = T":                     `2:6: the alias T stands for itself`,
		"[]T\ntype T[A any] struct{ X A }":                `2:6: write the type T out for each of its arguments: types with parameters cannot be stored`,
		"[]T\ntype T struct{}\ntype T int":                `3:6: T is declared twice`,
		"[]T\nvar x int":                                  `2:5: remove the declaration of values: only types can be declared`,
		"[]T\nfunc f() {}":                                `2:1: remove the function: only types can be declared`,
		"type T int":                                      `1:1: write the type of the collection first, such as map[string]User, and then the declarations`,
		"[]shop.Item":                                     `1:3: the type shop.Item is not known here; declare a type with the same fields, as everheap types prints it`,
		"[][n]int":                                        `1:4: write the length of an array as a number`,
		"[][99999999999]int64":                            `1:3: use a slice or a List: the type is larger than 2 GiB`,
		"[]struct{ A int `everheap:\"was=1\"` }":          `1:3: write its tag as everheap:"was=OldName"`,
		"[]everheap.Map[int]":                             `1:3: everheap.Map has 2 type arguments, and not 1`,
		"[]everheap.List":                                 `1:3: everheap.List needs type arguments`,
		"everheap.Dict[string, int]":                      `1:1: a collection is map[K]V, sorted[K]V, []T, or *T for a single value`,
		"[]everheap.Dict[int]":                            `1:3: everheap.Dict has 2 type arguments, and not 1`,
		"[]everheap.Dict[*int, int]":                      `1:3: its key type *int holds pointers or slices`,
		"[]uintptr":                                       `1:3: uintptr cannot be stored; use uint64`,
		"[]x + y":                                         `1:1: a collection is`,
		"package p\ntype T int":                           `1:1: the package comment does not list a collection "n"; write the type of the collection before the declarations, and no package clause`,
		"[]int }":                                         `1:7: expected`,
		"[]int\ntype A struct {\n":                        `2:17: expected '}', found 'EOF'`,
		"[]" + strings.Repeat("*", 600) + "int":           `1:503: flatten the type: it nests more than 500 levels`,
		"[]A0" + doubling("struct{ X A%[2]d; Y A%[2]d }"): `59:22: split the type`,
		"[]everheap.List[A0]" + doubling("struct{ X, Y A%[2]d }"): `1:17: give parts`,
		strings.Repeat("x", 1<<20+1):                              `1:1: the text has 1048577 bytes; shorten it to at most 1048576`,
	} {
		_, err := typetext.Parse(text, "n", library)
		if e := (*typetext.Error)(nil); !errors.As(err, &e) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q:\n got %v\nwant %s", text, err, want)
		}
	}
}

// Parse accepts any text without a panic, and the types that it returns can be stored and printed.
func FuzzParse(f *testing.F) {
	for _, rt := range values {
		t, err := layout.Of(rt)
		if err != nil {
			f.Fatal(err)
		}
		s := layout.NewSource(library)
		f.Add("sorted[string]" + s.Type(t) + "\n" + strings.Join(s.Declarations(), "\n"))
	}
	f.Add("package p\n\n// A is stored as b.C, of d/e.\ntype A struct{}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := typetext.Parse(text, "n", library)
		if err != nil {
			if e := (*typetext.Error)(nil); !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.What == "" {
				t.Errorf("%q: the error %v", text, err)
			}
			return
		}
		for _, p := range []*layout.Type{c.Key, c.Value} {
			if p == nil {
				continue
			}
			again, err := layout.Decode(p.Encode())
			if err != nil || !layout.Same(again, p) {
				t.Errorf("%q: the descriptor cannot be read: %v", text, err)
			}
		}
	})
}
