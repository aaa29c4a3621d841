package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unique"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// tags is a type that can only be stored by its methods.
type tags map[string]bool

func (s tags) MarshalText() ([]byte, error) {
	return []byte(strings.Join(slices.Sorted(maps.Keys(s)), " ")), nil
}

func (s *tags) UnmarshalText(b []byte) error {
	*s = tags{}
	for _, tag := range strings.Fields(string(b)) {
		if tag == "bad" {
			return errors.New("a bad tag")
		}
		(*s)[tag] = true
	}
	return nil
}

// shade is a type whose pointers are compared: equal shades have equal pointers.
type shade struct{ p *string }

var shades = map[string]shade{}

func shadeOf(name string) shade {
	if name == "" {
		return shade{}
	}
	if _, ok := shades[name]; !ok {
		shades[name] = shade{&name}
	}
	return shades[name]
}

func (s shade) MarshalBinary() ([]byte, error) { return []byte(*s.p), nil }

func (s *shade) UnmarshalBinary(b []byte) error {
	*s = shadeOf(string(b))
	return nil
}

// netHost has nearly all kinds of coded parts.
type netHost struct {
	Name  string
	Addr  netip.Addr
	Nets  []netip.Prefix
	Via   map2ports
	Tags  tags
	Paint *shade
	When  time.Time
	Up    *netHost
}

// map2ports is an array, so that several coded values are consecutive.
type map2ports [2]netip.AddrPort

func someAddr(r *rand.Rand) netip.Addr {
	switch r.IntN(6) {
	case 0:
		return netip.Addr{}
	case 1, 2:
		return netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), 0, byte(r.IntN(40))})
	case 3:
		return netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(r.IntN(40))}).WithZone(fmt.Sprint("eth", r.IntN(3)))
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 14: byte(r.IntN(2)), 15: byte(r.IntN(40))})
}

func someHost(r *rand.Rand, up int) netHost {
	a := someAddr(r)
	m := netHost{Name: fmt.Sprint("m", r.IntN(100)), Addr: a, When: time.Unix(int64(r.IntN(1000)), 0).UTC()}
	for range r.IntN(3) {
		m.Nets = append(m.Nets, netip.PrefixFrom(someAddr(r), r.IntN(40)))
	}
	m.Via = map2ports{netip.AddrPortFrom(a, 80), netip.AddrPortFrom(someAddr(r), uint16(r.IntN(1<<16)))}
	if r.IntN(2) == 0 {
		m.Tags = tags{}
		for range r.IntN(3) {
			m.Tags[fmt.Sprint("t", r.IntN(9))] = true
		}
	}
	if r.IntN(2) == 0 {
		s := shadeOf(fmt.Sprint("s", r.IntN(4)))
		m.Paint = &s
	}
	if up > 0 && r.IntN(2) == 0 {
		other := someHost(r, up-1)
		m.Up = &other
	}
	return m
}

// sameHost compares as a program would, with ==.
func sameHost(a, b netHost) bool {
	same := a.Name == b.Name && a.Addr == b.Addr && slices.Equal(a.Nets, b.Nets) && a.Via == b.Via &&
		(a.Tags == nil) == (b.Tags == nil) && maps.Equal(a.Tags, b.Tags) &&
		(a.Paint == nil) == (b.Paint == nil) && a.When.Equal(b.When) && (a.Up == nil) == (b.Up == nil)
	return same && (a.Paint == nil || *a.Paint == *b.Paint) && (a.Up == nil || sameHost(*a.Up, *b.Up))
}

func wantHost(t *testing.T, what string, got, want netHost) {
	t.Helper()
	if !sameHost(got, want) {
		t.Fatalf("%s: got %+v, want %+v", what, got, want)
	}
}

// Values with coded parts are equal in copies, after reopening, and in backups; coded keys are found,
// and in order.
func TestCodedValues_Model(t *testing.T) {
	spacetest.Rounds(t, 4, func(t *testing.T, r *rand.Rand) {
		dir := filepath.Join(t.TempDir(), "s")
		s := spacetest.Open(t, dir)
		hosts := spacetest.MapOf[netip.AddrPort, netHost](t, s)
		nets, err := everheap.OpenSorted[netip.Prefix, netHost](s, "nets")
		spacetest.Must(t, err)
		all, err := everheap.OpenList[netHost](s, "all")
		spacetest.Must(t, err)
		one, err := everheap.OpenRef(s, "one", someHost(r, 2))
		spacetest.Must(t, err)
		byHost, byNet := map[netip.AddrPort]netHost{}, map[netip.Prefix]netHost{}
		var list []netHost
		var last netHost
		for range 200 {
			m, port := someHost(r, 2), netip.AddrPortFrom(someAddr(r), uint16(r.IntN(3)))
			network := netip.PrefixFrom(someAddr(r), r.IntN(20))
			spacetest.Must(t, hosts.Set(s, port, m))
			spacetest.Must(t, nets.Upsert(s, network, func(v *netHost, found bool) error {
				if _, want := byNet[network]; found != want {
					t.Errorf("%v: found is %v", network, found)
				}
				wantHost(t, "upsert", *v, byNet[network])
				*v = m
				return nil
			}))
			spacetest.Must(t, all.Append(s, m, someHost(rand.New(rand.NewPCG(1, 1)), 1)))
			spacetest.Must(t, one.Set(s, m))
			byHost[port], byNet[network], last = m, m, m
			list = append(list, m, someHost(rand.New(rand.NewPCG(1, 1)), 1))
			if r.IntN(4) == 0 {
				removed, err := hosts.Delete(s, port)
				spacetest.Must(t, err)
				if !removed {
					t.Errorf("%v was not there", port)
				}
				delete(byHost, port)
			}
		}
		compare := func() {
			spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
				for port, want := range byHost {
					got, err := hosts.Get(tx, port)
					spacetest.Must(t, err)
					wantHost(t, "get", got, want)
					wantHost(t, "peek", *hosts.Peek(tx, port), want)
				}
				n := 0
				for port, m := range hosts.All(tx) {
					wantHost(t, "all", *m, byHost[port])
					n++
				}
				if n != len(byHost) {
					t.Errorf("%d of %d hosts", n, len(byHost))
				}
				keys := slices.SortedFunc(maps.Keys(byNet), netip.Prefix.Compare)
				for i, key := range keys {
					k, m, ok := nets.Nth(tx, i)
					if !ok || k != key || nets.Rank(tx, key) != i {
						t.Fatalf("place %d: got %v, want %v", i, k, key)
					}
					wantHost(t, "nth", *m, byNet[key])
				}
				from, to := keys[len(keys)/4], keys[len(keys)*3/4]
				i := len(keys) / 4
				for k, m := range nets.Range(tx, everheap.Including(from), everheap.Including(to)) {
					if k != keys[i] {
						t.Fatalf("in the range: got %v, want %v", k, keys[i])
					}
					wantHost(t, "range", *m, byNet[k])
					i++
				}
				for i, m := range all.All(tx) {
					wantHost(t, "items", *m, list[i])
					wantHost(t, "item", *all.Peek(tx, i), list[i])
				}
				wantHost(t, "ref", *one.Peek(tx), last)
				wantHost(t, "ref again", *one.Peek(tx), last)
				return nil
			}))
		}
		compare()
		var image bytes.Buffer
		spacetest.Must(t, s.Backup(&image))
		spacetest.Must(t, s.Close())
		s, err = everheap.Open(dir, everheap.WithVerify())
		spacetest.Must(t, err)
		compare()
		spacetest.Must(t, s.Close())
		copied := filepath.Join(t.TempDir(), "copied")
		spacetest.Must(t, everheap.RestoreBackup(copied, &image, everheap.WithMaxSize(spacetest.Small)))
		s = spacetest.Open(t, copied)
		compare()
	})
}

// Peek returns a copy of such a value: writing to it changes nothing.
func TestCodedValues_PeekIsACopy(t *testing.T) { // LY9
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, netHost](t, s)
	spacetest.Must(t, m.Set(s, "a", netHost{Name: "a", Addr: netip.MustParseAddr("1.2.3.4")}))
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		p := m.Peek(tx, "a")
		p.Name = "b"
		if q := m.Peek(tx, "a"); q.Name != "a" || *everheap.Clone(&q.Addr) != netip.MustParseAddr("1.2.3.4") {
			t.Errorf("got %v", q)
		}
		if m.Peek(tx, "b") != nil {
			t.Error("a value of a key that is not there")
		}
		return nil
	})
}

func TestCodedValues_Watch(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[netip.Addr, netHost](t, s)
	a := netip.MustParseAddr("fe80::1%eth0")
	spacetest.Must(t, m.Set(s, a, netHost{Name: "old", Addr: a}))
	next := false
	for c, err := range m.Watch(spacetest.Patient(t), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		if !next {
			if c.Key != a || c.Old != nil || c.New.Addr != a {
				t.Errorf("got %+v", c)
			}
			spacetest.Must(t, m.Modify(s, a, func(v *netHost) error { v.Paint = new(shade); return nil }))
			next = true
			continue
		}
		if c.Key != a || c.Old.Addr != a || c.New.Paint == nil || *c.New.Paint != (shade{}) {
			t.Errorf("got %+v", c)
		}
		break
	}
}

// Types with coded parts evolve as others do, and Migrate converts from and to them.
func TestCodedValues_Evolve(t *testing.T) {
	s := spacetest.Scratch(t)
	type v1 struct {
		Addr netip.Addr
		Tags tags
		Text string
	}
	type v2 struct {
		Text string
		Addr *netip.Addr
		More netip.Prefix
		Tags tags
	}
	type v3 struct {
		Port netip.AddrPort
		Tags tags
	}
	a := netip.MustParseAddr("10.0.0.1")
	old, err := everheap.OpenMap[netip.Addr, v1](s, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, old.Set(s, a, v1{a, tags{"x": true}, "text"}))
	_, err = everheap.OpenMap[netip.Addr, v2](s, "m")
	if !errors.Is(err, everheap.ErrTypeChanged) || !strings.Contains(err.Error(), "netip.Addr -> *netip.Addr") {
		t.Errorf("got %v", err)
	}
	m2, err := everheap.OpenMap[netip.Addr, v2](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	got, err := m2.Get(s, a)
	spacetest.Must(t, err)
	if *got.Addr != a || got.More != (netip.Prefix{}) || !got.Tags["x"] || got.Text != "text" {
		t.Errorf("got %+v", got)
	}
	m3, err := everheap.OpenMap[netip.Addr, v3](s, "m", everheap.Migrate(func(o v2) (v3, error) {
		return v3{netip.AddrPortFrom(*o.Addr, 80), o.Tags}, nil
	}))
	spacetest.Must(t, err)
	last, err := m3.Get(s, a)
	spacetest.Must(t, err)
	if last.Port != netip.MustParseAddrPort("10.0.0.1:80") || !last.Tags["x"] {
		t.Errorf("got %+v", last)
	}
}

// An error of a value's own methods is an error of that operation only.
func TestCodedValues_MethodsThatFail(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, tags](t, s)
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		spacetest.Must(t, m.Set(tx, "a", tags{"bad": true}))
		_, err := m.Get(tx, "a")
		if err == nil || !strings.Contains(err.Error(), "UnmarshalText of everheap_test.tags") || !strings.Contains(err.Error(), "a bad tag") {
			t.Errorf("got %v", err)
		}
		return m.Set(tx, "a", tags{"good": true})
	}))
}

// The command's view of such values is text.
func TestCodedValues_JSON(t *testing.T) {
	s := spacetest.Scratch(t)
	_, err := everheap.OpenSorted[netip.Prefix, netHost](s, "nets")
	spacetest.Must(t, err)
	c, err := s.Collection("nets")
	spacetest.Must(t, err)
	if c.KeyType() != "netip.Prefix" {
		t.Errorf("the keys are of type %s", c.KeyType())
	}
	spacetest.Must(t, c.SetJSON(s, []byte(`"10.0.0.0/8"`), []byte(`{"Addr": "10.1.2.3", "Tags": "b a", "Via": ["[::1]:80", ""], "Paint": {"$value": "cmVk"}}`)))
	spacetest.Must(t, c.SetJSON(s, []byte(`"9.0.0.0/8"`), []byte(`{}`)))
	value, err := c.GetJSON(s, []byte(`"10.0.0.0/8"`))
	spacetest.Must(t, err)
	want := `{"Name":"","Addr":"10.1.2.3","Nets":null,"Via":["[::1]:80",""],"Tags":"b a","Paint":{"$value":"cmVk"},"When":"0001-01-01T00:00:00Z","Up":null}`
	if string(value) != want {
		t.Errorf("got  %s\nwant %s", value, want)
	}
	nets, err := everheap.OpenSorted[netip.Prefix, netHost](s, "nets")
	spacetest.Must(t, err)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		k, m, _ := nets.Last(tx)
		if k != netip.MustParsePrefix("10.0.0.0/8") || m.Addr != netip.MustParseAddr("10.1.2.3") || !m.Tags["a"] || *m.Paint != shadeOf("red") {
			t.Errorf("got %v %+v", k, m)
		}
		return nil
	})
	if err := c.SetJSON(s, []byte(`"10.0.0.0"`), []byte(`{}`)); !errors.As(err, new(*everheap.JSONError)) {
		t.Errorf("got %v, want a JSONError", err)
	}
}

// Types whose equality depends on pointers of one process are refused, with advice.
func TestErrUnstorable_Identities(t *testing.T) {
	s := spacetest.Scratch(t)
	_, err := everheap.OpenMap[string, struct{ Name unique.Handle[string] }](s, "h")
	var typ *everheap.TypeError
	if !errors.Is(err, everheap.ErrUnstorable) || !errors.As(err, &typ) || !strings.Contains(err.Error(), "field Name (unique.Handle[string])") || !strings.Contains(err.Error(), "store its Value") {
		t.Errorf("got %v", err)
	}
	_, err = everheap.OpenMap[unique.Handle[string], int](s, "k")
	if !errors.Is(err, everheap.ErrUnstorable) {
		t.Errorf("got %v", err)
	}
	_, err = everheap.OpenList[*strings.Builder](s, "b")
	if !errors.Is(err, everheap.ErrUnstorable) {
		t.Errorf("got %v", err)
	}
}

type cartItem struct {
	Name string
	N    int
}

type cart struct {
	Items   []cartItem
	Current *cartItem
}

// Every operation that stores refuses a pointer into a slice of the same value; the transaction can
// continue.
func TestErrUnstorable_InteriorPointer(t *testing.T) {
	s := spacetest.Scratch(t)
	carts := spacetest.MapOf[string, cart](t, s)
	all, err := everheap.OpenList[cart](s, "all")
	spacetest.Must(t, err)
	c := cart{Items: []cartItem{{"a", 1}, {"b", 2}}}
	good := c
	c.Current = &c.Items[1]
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, everheap.ErrUnstorable) || !errors.As(err, new(*everheap.TypeError)) ||
			!strings.Contains(err.Error(), "field Current (*everheap_test.cartItem)") || !strings.Contains(err.Error(), "points into Items") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	check("set", carts.Set(s, "x", c))
	check("append", all.Append(s, good, c))
	_, err = everheap.OpenRef(s, "one", c)
	check("ref", err)
	spacetest.Must(t, carts.Set(s, "x", good))
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		check("modify", carts.Modify(tx, "x", func(v *cart) error { v.Current = &v.Items[0]; return nil }))
		check("append in an update", all.Append(tx, good, c))
		return carts.Set(tx, "y", good)
	}))
	if n, err := all.Len(s); err != nil || n != 0 {
		t.Errorf("%d elements (%v)", n, err)
	}
	if v, err := carts.Get(s, "x"); err != nil || v.Current != nil || len(v.Items) != 2 {
		t.Errorf("got %+v (%v)", v, err)
	}
}
