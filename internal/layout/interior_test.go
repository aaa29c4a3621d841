package layout

import (
	"errors"
	"strings"
	"testing"
	"unsafe"
)

type item struct {
	Name string
	N    int
	Part struct{ X, Y int32 }
}

type cart struct {
	Items   []item
	Current *item
	X       *int32
	Box     *box
	Raw     []byte
	At      *byte
	Header  *[]item
}

type box struct {
	First item
	Rest  [2]item
	Cart  *cart
}

func TestMeasure_InteriorPointer(t *testing.T) { // LY10
	typ := typeFor[cart](t)
	r := newRegion(t, 1<<16)
	for name, c := range map[string]struct {
		make  func() *cart
		path  string // "": it can be stored
		where string
	}{
		"an element":            {func() *cart { c := cart{Items: make([]item, 3)}; c.Current = &c.Items[1]; return &c }, "Current", "Items"},
		"the first element":     {func() *cart { c := cart{Items: make([]item, 3)}; c.Current = &c.Items[0]; return &c }, "Current", "Items"},
		"the only element":      {func() *cart { c := cart{Items: make([]item, 1)}; c.Current = &c.Items[0]; return &c }, "Current", "Items"},
		"a field of an element": {func() *cart { c := cart{Items: make([]item, 3)}; c.X = &c.Items[2].Part.Y; return &c }, "X", "Items"},
		"a byte":                {func() *cart { c := cart{Raw: []byte("abc")}; c.At = &c.Raw[0]; return &c }, "At", "Raw"},
		"a field":               {func() *cart { c := cart{Box: &box{}}; c.Current = &c.Box.Rest[1]; return &c }, "Current", "Box"},
		"the first field":       {func() *cart { c := cart{Box: &box{}}; c.Current = &c.Box.First; return &c }, "Current", "Box"},
		"found by the pointer": {func() *cart {
			c := cart{Box: &box{Cart: &cart{Items: make([]item, 2)}}}
			c.Current = &c.Box.Cart.Items[1]
			return &c
		}, "Current", "Box.Cart.Items"},
		"the value itself":    {func() *cart { c := cart{}; c.Header = &c.Items; return &c }, "Header", "the value itself"},
		"in another part":     {func() *cart { c := cart{Box: &box{Cart: &cart{}}}; c.Header = &c.Box.Cart.Items; return &c }, "Header", "Box.Cart"},
		"nothing":             {func() *cart { return &cart{} }, "", ""},
		"an item of its own":  {func() *cart { return &cart{Items: make([]item, 3), Current: &item{N: 1}, X: new(int32)} }, "", ""},
		"behind the elements": {func() *cart { s := make([]item, 4); return &cart{Items: s[:2], Current: &s[2]} }, "", ""},
		"before the elements": {func() *cart { s := make([]item, 4); return &cart{Items: s[2:], Current: &s[1]} }, "", ""},
		"a cycle":             {func() *cart { c := cart{Box: &box{}}; c.Box.Cart = &c; return &c }, "", ""},
	} {
		v := c.make()
		_, err := typ.Measure(unsafe.Pointer(v))
		var u *UnstorableError
		switch {
		case c.path == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.path == "":
			r.store(t, typ, unsafe.Pointer(v))
		case !errors.As(err, &u) || u.Path != c.path || !strings.Contains(u.Advice, "points into "+c.where):
			t.Errorf("%s: got %v, want a refusal of %s, which points into %s", name, err, c.path, c.where)
		default:
			if _, err := Clone(v); err == nil {
				t.Errorf("%s: the clone differs", name)
			}
		}
	}
}

// Slices of one array are each stored with all their elements.
func TestMeasure_SlicesOfOneArray(t *testing.T) {
	type windows struct {
		List []*int
		All  [][]item
		Cur  *item
	}
	typ := typeFor[windows](t)
	r := newRegion(t, 1<<20)
	array := make([]item, 50)
	for i := range array {
		array[i].N = i
	}
	w := windows{Cur: &item{N: 7}}
	for i := range 40 {
		w.All = append(w.All, array[i:i+10])
	}
	got := trip(t, r, &w)
	for i, s := range got.All {
		if len(s) != 10 || s[3].N != i+3 {
			t.Fatalf("window %d: got %v", i, s)
		}
	}
	w.Cur = &array[45]
	_, err := typ.Measure(unsafe.Pointer(&w))
	var u *UnstorableError
	if !errors.As(err, &u) || u.Path != "Cur" {
		t.Errorf("got %v, want a refusal of Cur", err)
	}
}
