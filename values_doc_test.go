package everheap_test

import (
	"bytes"
	"container/list"
	rings "container/ring"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"hash/maphash"
	"log/slog"
	"math/big"
	oldrand "math/rand"
	"math/rand/v2"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unique"
	"unsafe"
	"weak"

	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/spacetest"
)

// ownNode is a struct with pointers that are not exported.
type ownNode struct {
	//lint:ignore U1000 it is there to be looked at
	next *ownNode
	Prev *ownNode
	N    int
}

// documented are the rows of the table of types in VALUES.md.
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
	{"`map[K]V`", "no", types(map[string]int{})},
	{"`chan T`", "no", types(make(chan int))},
	{"`func()`", "no", types(func() {})},
	{"`any`, `error`, other interfaces", "no", []reflect.Type{reflect.TypeFor[any](), reflect.TypeFor[error](), reflect.TypeFor[net.Addr]()}},
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

// What VALUES.md says of a type is so, and each row of its table is looked at.
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
