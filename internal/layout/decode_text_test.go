package layout

import (
	"errors"
	"reflect"
	"testing"
)

// In Go only types with names contain themselves. The text of an unnamed type that contains itself
// would have no end; and the text of a type whose parts are each written twice, level by level, would
// be too long.
func TestDecode_TextWithoutEnd(t *testing.T) {
	kinds := map[string]func(name string) *Type{
		"itself": func(name string) *Type {
			t := &Type{kind: Pointer, name: name, size: 8, align: 8}
			t.elem = t
			return t
		},
		"through another": func(name string) *Type {
			t := &Type{kind: Ref, name: name, size: 8, align: 8}
			t.elem = &Type{kind: Struct, size: 8, align: 8, fields: []Field{{Name: "F", Type: t}}}
			return t
		},
		"twice": func(name string) *Type {
			t := &Type{kind: Pointer, name: name, size: 8, align: 8, elem: &Type{kind: Int, size: 8, align: 8}}
			for range 60 {
				s := &Type{kind: Struct, size: 16, align: 8, fields: []Field{{Name: "A", Type: t}, {Name: "B", Type: t, Offset: 8}}}
				t = &Type{kind: Pointer, name: name, size: 8, align: 8, elem: s}
			}
			return t
		},
	}
	for what, fn := range kinds {
		var d *DamageError
		if got, err := Decode(fn("").Encode()); !errors.As(err, &d) {
			t.Errorf("%s: %v, %v", what, got != nil, err)
		}
		if got, err := Decode(fn("named").Encode()); err != nil || got.String() != "named" {
			t.Errorf("%s, with a name: %v, %v", what, got, err)
		}
	}
	type itselfToo *itselfToo
	if _, err := Of(reflect.TypeFor[itselfToo]()); err != nil {
		t.Error(err)
	}
}
