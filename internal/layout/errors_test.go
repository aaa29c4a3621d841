package layout

import (
	"container/list"
	"errors"
	"go/format"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unique"
)

func TestSameModule(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"example.com/owner/mod", "example.com/owner/mod/sub/deep", true},
		{"example.com/owner/mod/a", "example.com/owner/mod_test", true},
		{"example.com/owner/mod", "example.com/owner/other", false},
		{"gopkg.in/mod.v3", "gopkg.in/mod.v3", true},
		{"gopkg.in/mod.v3", "gopkg.in/other.v3", false},
		{"shop/model", "shop/store", true},
		{"shop/model", "net/url", false},
		{"net/url", "net/netip", true},
	} {
		if got := sameModule(c.a, c.b); got != c.same || sameModule(c.b, c.a) != c.same {
			t.Errorf("%s and %s: got %v, want %v", c.a, c.b, got, c.same)
		}
	}
	if isStandard("shop/model") || isStandard("main") || isStandard("example.com/net") || !isStandard("net/url") || !isStandard("time") {
		t.Error("packages of the standard library are not recognised")
	}
}

// stranger finds a type of another module with hidden pointers by value, behind a pointer and in a
// slice.
func TestStranger(t *testing.T) {
	for _, c := range []struct {
		field reflect.Type
		want  bool
	}{
		{reflect.TypeFor[list.List](), true},
		{reflect.TypeFor[[]*list.List](), true},
		{reflect.TypeFor[[3]list.Element](), true},
		{reflect.TypeFor[url.URL](), false},            // its pointers are exported
		{reflect.TypeFor[*regexp.Regexp](), false},     // it has methods
		{reflect.TypeFor[netip.Addr](), false},         // all types of netip have methods
		{reflect.TypeFor[unique.Handle[int]](), true},  // refused by name before
		{reflect.TypeFor[*node](), false},              // of the same module
		{reflect.TypeFor[struct{ p *int }](), false},   // of the struct itself
		{reflect.TypeFor[testMap[int, *int]](), false}, // not in the value
	} {
		if got := stranger(reflect.TypeFor[host](), c.field) != nil; got != c.want {
			t.Errorf("%s: got %v, want %v", c.field, got, c.want)
		}
	}
	if checkTag("content") != "" || checkTag("was=A,content") != "" || checkTag("contents") == "" || !hasOption("was=A,content", "content") || hasOption("", "content") {
		t.Error("the tag is not understood")
	}
}

// Structs of the standard library with hidden pointers are refused; the error names the field.
func TestOf_HiddenPointers(t *testing.T) {
	_, err := For[struct{ At *list.Element }]()
	var u *UnstorableError
	if !errors.As(err, &u) || !strings.HasPrefix(u.Path, "At") {
		t.Errorf("got %v", err)
	}
}

// The source of coded types compiles to types that are coded in the same way.
func TestSource_Coded(t *testing.T) {
	s := NewSource("example.com/everheap")
	for _, c := range []struct {
		typ  *Type
		want string
	}{
		{typeFor[[]netip.Addr](t), "[]netip.Addr"}, {typeFor[netip.AddrPort](t), "netip.AddrPort"}, {typeFor[*netip.Prefix](t), "*netip.Prefix"},
		{typeFor[labels](t), "labels"}, {typeFor[[2]word1](t), "[2]word1"}, {typeFor[host](t), "host"},
	} {
		if got := s.Type(storedAs(t, c.typ)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	text := strings.Join(s.Declarations(), "\n")
	if _, err := format.Source([]byte("package p\n" + text)); err != nil {
		t.Error(err)
	}
	for _, part := range []string{"func (v labels) MarshalText() ([]byte, error)", "func (v *word1) UnmarshalBinary(b []byte) error", "Net netip.Prefix"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(part), " ")) {
			t.Errorf("%q is missing in\n%s", part, text)
		}
	}
	if strings.Join(s.Imports(), " ") != "net/netip" {
		t.Errorf("imports: %v", s.Imports())
	}
}
