package layout

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math/big"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unique"
	"unsafe"
)

type host struct {
	Name  string
	Addr  netip.Addr
	Net   netip.Prefix
	Ports []netip.AddrPort
	Next  *host
}

// labels cannot be stored field by field.
type labels map[string]string

func (l labels) MarshalText() ([]byte, error) {
	var parts []string
	for k, v := range l {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return []byte(strings.Join(parts, ",")), nil
}

func (l *labels) UnmarshalText(b []byte) error {
	*l = nil
	if len(b) == 0 {
		return nil
	}
	*l = labels{}
	for _, p := range strings.Split(string(b), ",") {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			return errors.New("want key=value")
		}
		(*l)[k] = v
	}
	return nil
}

// word1 is one pointer, the same for equal words.
type word1 struct{ h unique.Handle[string] }

func (w word1) MarshalBinary() ([]byte, error) {
	if w == (word1{}) {
		return nil, errors.New("no word")
	}
	return []byte(w.h.Value()), nil
}

func (w *word1) UnmarshalBinary(b []byte) error {
	w.h = unique.Make(string(b))
	return nil
}

type marked struct {
	L    labels
	W    []word1
	When time.Time
	R    *regexp.Regexp
	By   func() `json:"-"`
}

type markedStored struct {
	L    labels
	W    []word1
	When time.Time
	R    *regexp.Regexp
	P    *labels
	Q    [2]labels
}

func addresses() []netip.Addr {
	return []netip.Addr{{}, netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("255.255.255.255"),
		netip.MustParseAddr("::"), netip.MustParseAddr("::ffff:10.1.2.3"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::1%eth0"),
		netip.MustParseAddr("fe80::1%eth0").WithZone("eth\x00\xff"), netip.MustParseAddr("fe80::1%eth1"), netip.MustParseAddr("fe80::2%e"),
		netip.MustParseAddr("::ffff:1.2.3.4%lan"), netip.MustParseAddr("ffff::")}
}

func TestCoded_RoundTrip(t *testing.T) { // LY9
	r := newRegion(t, 1<<20)
	for _, a := range addresses() {
		check(t, r, a)
		check(t, r, []netip.Addr{a, a})
		check(t, r, netip.AddrPortFrom(a, 80))
		check(t, r, netip.AddrPortFrom(a, 0))
		for _, bits := range []int{-1, 0, 7, 32, 128, 200} {
			p := netip.PrefixFrom(a, bits)
			check(t, r, p)
			check(t, r, [2]netip.Prefix{p})
		}
		h := host{Name: "a", Addr: a, Net: netip.PrefixFrom(a, 4), Ports: []netip.AddrPort{netip.AddrPortFrom(a, 1)}}
		h.Next = &host{Name: "b", Addr: a}
		h.Next.Next = h.Next
		check(t, r, h)
	}
	type named netip.Addr
	check(t, r, named(netip.MustParseAddr("1.2.3.4")))
	check(t, r, labels(nil))
	check(t, r, labels{"a": "1", "b": "\xff"})
	check(t, r, word1{})
	check(t, r, word1{unique.Make("w")})
	check(t, r, *big.NewInt(-5))
	l := labels{"x": "y"}
	check(t, r, markedStored{L: l, W: []word1{{unique.Make("a")}, {}, {unique.Make("b")}}, When: time.Unix(1, 0).UTC(), P: &l, Q: [2]labels{nil, l}})

	u, _ := url.Parse("https://me:secret@example.org/a?b#c")
	check(t, r, *u)
	check(t, r, net.IPNet{IP: net.IPv4(1, 2, 3, 4), Mask: net.CIDRMask(8, 32)})
	check(t, r, *new(big.Rat).SetFrac64(3, 7))
	check(t, r, *bytes.NewBufferString("abc"))
	v := trip(t, r, &markedStored{R: regexp.MustCompile("a+(b)")})
	if v.R.String() != "a+(b)" || !v.R.MatchString("aab") {
		t.Errorf("got %v", v.R)
	}
}

// A coded value is equal after a round trip, although Go compares the pointers in it.
func TestCoded_IsEqual(t *testing.T) {
	r := newRegion(t, 1<<16)
	for _, a := range addresses() {
		v := netip.AddrPortFrom(a, 7)
		if got := trip(t, r, &v); got != v {
			t.Errorf("got %v, want %v", got, v)
		}
		if c, err := Clone(&v); err != nil || *c != v {
			t.Errorf("cloned: got %v, want %v", c, v)
		}
	}
	w := word1{unique.Make("same")}
	if got := trip(t, r, &w); got != w {
		t.Error("the word differs from the stored one")
	}
	l := labels{"a": "b"}
	c, err := Clone(&l)
	if err != nil {
		t.Fatal(err)
	}
	(*c)["a"] = "c"
	if l["a"] != "b" {
		t.Error("the clone is not a private copy")
	}
}

func TestCoded_JSONIsText(t *testing.T) {
	r := newRegion(t, 1<<16)
	h := host{Addr: netip.MustParseAddr("fe80::1%eth0"), Net: netip.MustParsePrefix("10.0.0.0/8")}
	typ := typeFor[host](t)
	p, b := r.store(t, typ, unsafe.Pointer(&h))
	text, err := typ.AppendJSON(nil, p, b)
	want := `{"Name":"","Addr":"fe80::1%eth0","Net":"10.0.0.0/8","Ports":null,"Next":null}`
	if err != nil || string(text) != want {
		t.Errorf("got %s (%v), want %s", text, err, want)
	}
	for _, c := range []struct{ text, what string }{
		{`{"Addr": "300.1.1.1"}`, "netip.Addr"}, {`{"Addr": 5}`, "a string"}, {`{"Net": "10.0.0.0"}`, "netip.Prefix"},
		{`{"Addr": {"$bytes": "AAA="}}`, "the bytes of netip.Addr"},
	} {
		_, err := typ.ParseJSON([]byte(c.text))
		var j *JSONError
		if !errors.As(err, &j) || !strings.Contains(j.What, c.what) {
			t.Errorf("%s: got %v, want an error with %q", c.text, err, c.what)
		}
	}
	words := typeFor[[]word1](t)
	d, err := words.ParseJSON([]byte(`["YQ==", ""]`))
	if err != nil {
		t.Fatal(err)
	}
	var list []word1
	if err := words.CopyOut(unsafe.Pointer(&list), d.Pointer(), d.Bounds()); err != nil || list[0].h.Value() != "a" {
		t.Errorf("got %v (%v)", list, err)
	}
	runtime.KeepAlive(d)
}

// storedKey returns a key in its stored form.
func storedKey[K any](t *testing.T, typ *Type, k *K) unsafe.Pointer {
	t.Helper()
	p, err := typ.Stored(unsafe.Pointer(k))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func checkCodedOrder[K any](t *testing.T, keys []K, compare func(a, b K) int) {
	t.Helper()
	typ := typeFor[K](t)
	if typ.KeyError() != nil || typ.OrderError() != nil {
		t.Fatal(typ.KeyError(), typ.OrderError())
	}
	for i := range keys {
		for j := range keys {
			a, b := storedKey(t, typ, &keys[i]), storedKey(t, typ, &keys[j])
			want := compare(keys[i], keys[j])
			if got := typ.Compare(a, b); got != want || typ.Equal(a, b) != (want == 0) {
				t.Fatalf("%v and %v: got %d, want %d", keys[i], keys[j], got, want)
			}
			ha, err := typ.Hash(1, a)
			hb, err2 := typ.Hash(1, b)
			if err != nil || err2 != nil || (ha == hb) != (want == 0) {
				t.Fatalf("%v and %v: hashes %x and %x", keys[i], keys[j], ha, hb)
			}
			for from := uintptr(0); from < 80; from += 3 {
				if x, y := typ.OrderWord(a, from), typ.OrderWord(b, from); x != y {
					if from == 0 && cmp.Compare(x, y) != want {
						t.Fatalf("%v and %v: first words in wrong order", keys[i], keys[j])
					}
					break
				}
			}
			whole := func(p unsafe.Pointer) (w []byte) {
				for from := uintptr(0); from < 96; from += 8 {
					w = binary.BigEndian.AppendUint64(w, typ.OrderWord(p, from))
				}
				return w
			}
			if c := bytes.Compare(whole(a), whole(b)); c != 0 && c != want {
				t.Fatalf("%v and %v: the ordered forms compare as %d, want %d", keys[i], keys[j], c, want)
			}
		}
	}
}

// Keys of types of netip have the order of netip.
func TestCoded_Order(t *testing.T) {
	type pair struct {
		A netip.Addr
		N uint8
	}
	var ports []netip.AddrPort
	var prefixes []netip.Prefix
	var pairs []pair
	for _, a := range addresses() {
		for _, n := range []int{0, 1, 8, 33, 255} {
			ports = append(ports, netip.AddrPortFrom(a, uint16(n*257)))
			prefixes = append(prefixes, netip.PrefixFrom(a, n-1))
			pairs = append(pairs, pair{a, uint8(n)})
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		b := make([]byte, 4+12*rng.IntN(2))
		for i := range b {
			b[i] = byte(rng.IntN(3)) * 127
		}
		a, _ := netip.AddrFromSlice(b)
		prefixes = append(prefixes, netip.PrefixFrom(a, rng.IntN(a.BitLen()+1)))
	}
	checkCodedOrder(t, addresses(), netip.Addr.Compare)
	checkCodedOrder(t, ports, netip.AddrPort.Compare)
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	checkCodedOrder(t, slices.Compact(prefixes), netip.Prefix.Compare)
	checkCodedOrder(t, pairs, func(a, b pair) int { return cmp.Or(a.A.Compare(b.A), cmp.Compare(a.N, b.N)) })
	words := []word1{{}, {unique.Make("a")}, {unique.Make("a\x00")}, {unique.Make("ab")}, {unique.Make("b")}}
	value := func(w word1) string {
		if w == (word1{}) {
			return ""
		}
		return w.h.Value()
	}
	checkCodedOrder(t, words, func(a, b word1) int { return strings.Compare(value(a), value(b)) })
}

// Damage at any byte is an error.
func TestCoded_DamageError(t *testing.T) {
	h := host{Addr: netip.MustParseAddr("fe80::1%eth0"), Ports: []netip.AddrPort{netip.MustParseAddrPort("1.2.3.4:5")}}
	typ := typeFor[host](t)
	p, err := typ.Stored(unsafe.Pointer(&h))
	if err != nil {
		t.Fatal(err)
	}
	n := alignUp(typ.Size(), 8)
	owned, err := typ.Measure(p)
	if err != nil {
		t.Fatal(err)
	}
	img := make([]byte, n+owned)
	if err := typ.flatten(unsafe.Pointer(&img[0]), 1, 0, n, owned, p, nil); err != nil {
		t.Fatal(err)
	}
	for i := range img {
		for bit := range 8 {
			bad := bytes.Clone(img)
			bad[i] ^= 1 << bit
			tryAll(t, typ, bad)
		}
	}
}

type refusing struct{ f func() }

func (refusing) MarshalText() ([]byte, error) { return nil, errors.New("not today") }
func (*refusing) UnmarshalText([]byte) error  { return errors.New("never") }

func TestStored_CodedError(t *testing.T) {
	typ := typeFor[[]refusing](t)
	v := []refusing{{}, {func() {}}}
	_, err := typ.Stored(unsafe.Pointer(&v))
	var e *CodedError
	if !errors.As(err, &e) || e.Method != "MarshalText" || e.Err.Error() != "not today" {
		t.Errorf("got %v", err)
	}
	r := newRegion(t, 1<<12)
	zero := []refusing{{}} // the zero value is stored without calling its methods
	if got := trip(t, r, &zero); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	d, err := typ.ParseJSON([]byte(`["x"]`))
	if err != nil {
		t.Fatal(err)
	}
	if err := typ.CopyOut(unsafe.Pointer(&v), d.Pointer(), d.Bounds()); !errors.As(err, &e) || e.Method != "UnmarshalText" {
		t.Errorf("got %v", err)
	}
	runtime.KeepAlive(d)
}

// Promoted methods of embedded fields ignore the other fields.
func TestOf_PromotedMethodsDoNotCount(t *testing.T) {
	type event struct {
		time.Time
		F func()
	}
	_, err := For[event]()
	var u *UnstorableError
	if !errors.As(err, &u) || u.Path != "F" {
		t.Errorf("got %v, want a refusal of F", err)
	}
	_, err = For[marked]()
	if !errors.As(err, &u) || u.Path != "By" {
		t.Errorf("got %v, want a refusal of By", err)
	}
}

func TestDecode_CodedKinds(t *testing.T) {
	for _, rt := range []reflect.Type{reflect.TypeFor[host](), reflect.TypeFor[labels](), reflect.TypeFor[word1](), reflect.TypeFor[markedStored]()} {
		typ, err := Of(rt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(typ.Encode())
		if err != nil || !Same(got, typ) || got.String() != typ.String() || got.Coded() != typ.Coded() {
			t.Errorf("%s: got %v (%v)", rt, got, err)
		}
	}
	if s := typeFor[struct{ A netip.Addr }](t).String(); s != "struct { A netip.Addr }" {
		t.Errorf("got %s", s)
	}
}
