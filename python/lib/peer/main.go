// Command peer is the Go process that the tests and the example of the Python package work
// together with.
//
//	peer fill DIR SEED      random values of Go types, each collection and an empty copy
//	peer compare DIR SEED   the copies must be equal
//	peer random DIR SEED    random values of random types, each collection and an empty copy
//	peer equal DIR          those copies must be equal
//	peer circles DIR        grows what Python has stored as circles, as a Go program with that type
//	peer json DIR           copies each collection X to X_json, by way of JSON
//	peer shapes DIR WAY     drawings with interfaces, whose types are registered by value, pointer or both
//	peer grown DIR WAY      what Python has made of the drawings must be the same types and shapes
//	peer pointers DIR       a map of values with a pointer to a pointer
//	peer bank DIR NAME      transfers and counts until it is killed, and says what is done
//	peer words DIR FILE     counts the words of a file in the map words
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing/quick"
	"time"

	"github.com/everheap/everheap"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: peer VERB DIR …")
	}
	s, err := everheap.Open(args[1], everheap.WithMaxSize(256<<20))
	if err != nil {
		return err
	}
	defer s.Close()
	switch args[0] {
	case "fill", "compare":
		seed, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		return family(s, args[0] == "fill", seed)
	case "random":
		seed, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		return randomTypes(s, seed)
	case "equal":
		return equalCopies(s)
	case "circles":
		return circles(s)
	case "json":
		return throughJSON(s)
	case "shapes", "grown":
		return shapes(s, args[0] == "shapes", args[2])
	case "pointers":
		_, err := everheap.OpenMap[string, struct{ Rows []Twice }](s, "pointers")
		return err
	case "bank":
		return bank(s, args[2])
	case "words":
		return words(s, args[2])
	}
	return fmt.Errorf("there is no %s", args[0])
}

// Numbers has all kinds of numbers.
type Numbers struct {
	A  int
	B  int8
	C  int16
	D  int32
	E  int64
	F  uint
	G  uint8
	H  uint16
	I  uint32
	J  uint64
	K  float32
	L  float64
	M  complex64
	N  complex128
	OK bool
}

// Twice has a pointer to a pointer, which Python has not.
type Twice struct{ Pointer map[string]**int }

// Point is of fields with names that are taken in Python.
type Point struct {
	X, Y  int16
	Class string
}

// Hidden has a field that other packages do not see.
type Hidden struct {
	Class string
	def   uint8
}

// Record has what owns memory.
type Record struct {
	UserID    int
	HTTPHost  string
	Raw       []byte
	Tags      []string
	Grid      [2][3]int32
	Hash      [4]byte
	Where     Point
	Maybe     *Point
	Count     *int64
	Names     *[]string
	Points    []Point
	Pointers  []*Point
	Age       time.Duration
	Anonymous struct {
		Left, Right string
	}
}

// Node points at others, and at itself.
type Node struct {
	Name  string
	Next  *Node
	Other *Node
	Many  []*Node
}

// family fills or compares collections of each type.
func family(s *everheap.Space, fill bool, seed int64) error {
	r := rand.New(rand.NewSource(seed))
	for _, err := range []error{
		each[string, Numbers](s, "numbers", fill, r, nil),
		each[int16, Point](s, "points", fill, r, nil),
		each[uint64, Record](s, "records", fill, r, nil),
		each[Point2, []string](s, "slices", fill, r, nil),
		each[[2]int8, string](s, "strings", fill, r, nil),
		each[string, []byte](s, "blobs", fill, r, nil),
		each[string, Hidden](s, "hidden", fill, r, func(h *Hidden) { *h = Hidden{fmt.Sprint(r.Int()), uint8(r.Int())} }),
		each[string, bool](s, "bools", fill, r, nil),
		each[string, *float64](s, "pointers", fill, r, nil),
		each[string, time.Time](s, "times", fill, r, func(t *time.Time) {
			*t = time.UnixMicro(r.Int63n(2*62135596800e6) - 62135596800e6).UTC()
		}),
		each[string, netip.Addr](s, "addresses", fill, r, func(a *netip.Addr) {
			*a = netip.AddrFrom4([4]byte{byte(r.Int()), byte(r.Int()), 1, 2})
		}),
		each[string, Nest](s, "nests", fill, r, func(n *Nest) { *n = Nest{Nest{}, Nest{Nest{}, Nest{}}}[:r.Intn(3)] }),
		each[string, Node](s, "graphs", fill, r, func(n *Node) { *n = graph(r) }),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Point2 is a key that is a struct.
type Point2 struct{ X, Y int32 }

// Nest is a slice of its own type.
type Nest []Nest

// graph returns the first of some nodes that point at each other.
func graph(r *rand.Rand) Node {
	nodes := make([]*Node, 1+r.Intn(6))
	for i := range nodes {
		nodes[i] = &Node{Name: fmt.Sprint(i)}
	}
	any := func() *Node {
		if r.Intn(4) == 0 {
			return nil
		}
		if len(nodes) == 1 {
			return nil
		}
		return nodes[1+r.Intn(len(nodes)-1)]
	}
	for _, n := range nodes {
		n.Next, n.Other = any(), any()
		for range r.Intn(3) {
			n.Many = append(n.Many, any())
		}
	}
	return *nodes[0]
}

// each fills or compares one collection. Values are random, or what adjust makes of zero ones. nil slices are empty ones in Python, so what is
// compared has no nil slices.
func each[K comparable, V any](s *everheap.Space, name string, fill bool, r *rand.Rand, adjust func(*V)) error {
	m, err := everheap.OpenMap[K, V](s, name)
	if err != nil {
		return err
	}
	clone, err := everheap.OpenMap[K, V](s, name+"_copy")
	if err != nil {
		return err
	}
	if fill {
		for range 20 {
			k, _ := quick.Value(reflect.TypeFor[K](), r)
			var value V
			if adjust != nil {
				adjust(&value)
			} else {
				v, _ := quick.Value(reflect.TypeFor[V](), r)
				value = v.Interface().(V)
			}
			if err := m.Set(s, k.Interface().(K), value); err != nil {
				return err
			}
		}
		return nil
	}
	a, err := m.Len(s)
	if err != nil {
		return err
	}
	b, err := clone.Len(s)
	if err != nil || a != b {
		return fmt.Errorf("%s has %d entries and its copy %d (%v)", name, a, b, err)
	}
	return s.View(func(tx *everheap.Tx) error {
		for k, v := range m.All(tx) {
			w := clone.Peek(tx, k)
			if w == nil {
				return fmt.Errorf("%s: the copy lacks %v", name, k)
			}
			if !same(reflect.ValueOf(v), reflect.ValueOf(w), map[[2]uintptr]bool{}) {
				return fmt.Errorf("%s: %v is %+v, and its copy %+v", name, k, *v, *w)
			}
		}
		return nil
	})
}

// same compares like reflect.DeepEqual, but nil slices equal empty ones, NaN equals NaN, and
// durations need be equal to a microsecond only, rounded down, as Python has them.
func same(a, b reflect.Value, seen map[[2]uintptr]bool) bool {
	if a.Type() == reflect.TypeFor[time.Duration]() {
		return floor(a.Int()) == floor(b.Int())
	}
	switch a.Kind() {
	case reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return a.Elem().Type() == b.Elem().Type() && same(a.Elem(), b.Elem(), seen)
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		key := [2]uintptr{a.Pointer(), b.Pointer()}
		if seen[key] {
			return true
		}
		seen[key] = true
		return same(a.Elem(), b.Elem(), seen)
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i), seen) {
				return false
			}
		}
		return true
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[time.Time]() {
			return a.Interface().(time.Time).Equal(b.Interface().(time.Time))
		}
		if a.Type() == reflect.TypeFor[netip.Addr]() {
			return a.Interface() == b.Interface()
		}
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i), seen) {
				return false
			}
		}
		return true
	case reflect.Float32, reflect.Float64:
		return a.Float() == b.Float() || a.Float() != a.Float() && b.Float() != b.Float()
	}
	return a.Equal(b)
}

func floor(ns int64) int64 {
	us := ns / 1000
	if ns%1000 < 0 {
		us--
	}
	return us
}

// throughJSON copies collections by way of JSON.
func throughJSON(s *everheap.Space) error {
	infos, err := s.Collections()
	if err != nil {
		return err
	}
	for _, info := range infos {
		to, err := s.Collection(info.Name + "_json")
		if err != nil {
			continue
		}
		from, err := s.Collection(info.Name)
		if err != nil {
			return err
		}
		err = s.Update(context.Background(), func(tx *everheap.Tx) error {
			for k, v := range from.AllJSON(tx) {
				if err := to.SetJSON(tx, k, v); err != nil {
					return fmt.Errorf("%s: %s: %w", info.Name, v, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bank moves money and counts, one transaction a time, and says after each what it has done.
func bank(s *everheap.Space, name string) error {
	accounts, err := everheap.OpenMap[string, int](s, "accounts")
	if err != nil {
		return err
	}
	counts, err := everheap.OpenMap[string, int](s, "counts")
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	r := rand.New(rand.NewSource(time.Now().UnixNano()))
	for {
		n := 0
		err := s.Update(context.Background(), func(tx *everheap.Tx) error {
			from, to, amount := fmt.Sprint(r.Intn(20)), fmt.Sprint(r.Intn(20)), r.Intn(100)
			err := accounts.Modify(tx, from, func(v *int) error { *v -= amount; return nil })
			if err == nil {
				err = accounts.Modify(tx, to, func(v *int) error { *v += amount; return nil })
			}
			if err == nil {
				err = counts.Upsert(tx, name, func(v *int, _ bool) error { *v++; n = *v; return nil })
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, n)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// words counts the words of a file, a line a transaction, and goes on where it was.
func words(s *everheap.Space, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	counts, err := everheap.OpenMap[string, int](s, "words")
	if err != nil {
		return err
	}
	done, err := everheap.OpenMap[string, int](s, "lines done")
	if err != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	for {
		over := false
		err := s.Update(context.Background(), func(tx *everheap.Tx) error {
			return done.Upsert(tx, file, func(next *int, _ bool) error {
				if over = *next == len(lines); over {
					return nil
				}
				for _, w := range strings.Fields(string(lines[*next])) {
					if err := counts.Upsert(tx, w, func(n *int, _ bool) error { *n++; return nil }); err != nil {
						return err
					}
				}
				*next++
				return nil
			})
		})
		if err != nil || over {
			return err
		}
	}
}
