package shell

import (
	"errors"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/query"
)

// No line makes the parser, unfinished, joined or objectAt panic; an error has a place in the line.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"users where Age > 30", `set users ada {"Name":"Ada"}`, "get users 'a b' \"c\" 3", "del m", ".help set", "create x map[string]int", "rename a b", "-- note", `"get" limit 3`, "set a b\\"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		st, err := parse(line)
		if e := (*query.Error)(nil); errors.As(err, &e) && (e.At < 0 || e.At > len(line)) {
			t.Errorf("%+v is not in %q", e, line)
		}
		if err == nil && st != nil && st.verb == "" {
			t.Errorf("%q has no verb", line)
		}
		_ = unfinished(line)
		joined([]string{line, line})
		objectAt(&objectType, line)
	})
}

// objectType is a type that contains itself.
var objectType everheap.TypeInfo

func init() {
	objectType = everheap.TypeInfo{Name: "T", Kind: "struct", Fields: []everheap.FieldInfo{
		{Name: "A", Type: &everheap.TypeInfo{Name: "*T", Kind: "pointer", Elem: &objectType}},
		{Name: "L", Type: &everheap.TypeInfo{Name: "[]T", Kind: "slice", Elem: &objectType}}}}
}
