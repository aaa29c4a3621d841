package everheap_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

func TestCollection_OfASortedMap(t *testing.T) {
	s := spacetest.Scratch(t)
	m := sortedOf[spacetest.TripleKey, []int](t, s)
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	if c.Kind() != "sorted" || !c.Ordered() || !strings.HasSuffix(c.KeyType(), ".tripleKey") || c.StringKeys() || c.ID() != m.ID() {
		t.Errorf("%s %s %s", c.Kind(), c.KeyType(), c.ValueType())
	}
	for i := range 200 {
		spacetest.Must(t, c.SetJSON(s, fmt.Appendf(nil, `{"A":"%d","B":%d}`, i%3, 100-i), fmt.Appendf(nil, "[%d]", i)))
	}
	if got, err := c.GetJSON(s, []byte(`{"A":"1","B":99}`)); err != nil || string(got) != "[1]" {
		t.Errorf("%s (%v)", got, err)
	}
	_, err = c.GetJSON(s, []byte(`{"A":"1","B":98}`))
	spacetest.ExpectError(t, err, everheap.ErrNotFound)
	if ok, err := c.DeleteJSON(s, []byte(`{"A":"0","B":100}`)); !ok || err != nil {
		t.Error(ok, err)
	}
	if n, err := c.Len(s); n != 199 || err != nil {
		t.Error(n, err)
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		var typed, dynamic []string
		for k, v := range m.All(tx) {
			typed = append(typed, fmt.Sprintf(`{"A":%q,"B":%d,"C":0} [%d]`, k.A, k.B, (*v)[0]))
		}
		for k, v := range c.AllJSON(tx) {
			dynamic = append(dynamic, string(k)+" "+string(v))
		}
		if !slices.Equal(typed, dynamic) || len(typed) != 199 {
			t.Errorf("%q", dynamic)
		}
		i := 0
		for k := range c.KeysJSON(tx) {
			if !strings.HasPrefix(dynamic[i], string(k)+" ") {
				t.Errorf("key %d is %s, not that of %s", i, k, dynamic[i])
			}
			i++
		}
		return nil
	})
	list, err := s.Collections()
	spacetest.Must(t, err)
	if len(list) != 1 || list[0].Kind != "sorted" || list[0].Len != 199 || !strings.HasPrefix(list[0].Type(), "sorted[") || !strings.HasSuffix(list[0].Type(), "][]int") {
		t.Errorf("%+v", list)
	}
	f, err := everheap.OpenSorted[float64, bool](s, "f")
	spacetest.Must(t, err)
	spacetest.Must(t, f.Set(s, -0.5, true))
	c, err = s.Collection("f")
	spacetest.Must(t, err)
	spacetest.Must(t, c.SetJSON(s, []byte("-0"), []byte("true")))
	spacetest.Must(t, c.SetJSON(s, []byte("0.0"), []byte("false")))
	if n, err := c.Len(s); n != 2 || err != nil {
		t.Error(n, err)
	}
}
