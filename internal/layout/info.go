package layout

// Info describes a stored type to programs that do not have it. A type that contains
// itself is a cycle.
type Info struct {
	Name string // in Go syntax
	// Kind is bool, int, int8 … complex128, string, time.Time, struct, array, slice, pointer,
	// netip.Addr, netip.AddrPort, netip.Prefix; Map, Sorted, List or Ref for a handle; text or
	// binary for what is stored by its bytes.
	Kind   string
	Len    int         // of an array
	Key    *Info       // of the keys that a handle leads to
	Elem   *Info       // of elements, of what a pointer points at, of the values that a handle leads to
	Fields []FieldInfo // of a struct
}

// FieldInfo is a field of a struct.
type FieldInfo struct {
	Name string
	Type *Info
}

// InfoOf describes a type; nil of none.
func InfoOf(t *Type) *Info { return describe(t, map[*Type]*Info{}) }

// describe describes a type and those that it is made of, each once.
func describe(t *Type, seen map[*Type]*Info) *Info {
	if t == nil {
		return nil
	}
	if info := seen[t]; info != nil {
		return info
	}
	info := &Info{Name: t.String(), Kind: t.Kind().String(), Len: int(t.Len())}
	seen[t] = info
	info.Key, info.Elem = describe(t.Key(), seen), describe(t.Elem(), seen)
	for _, f := range t.Fields() {
		info.Fields = append(info.Fields, FieldInfo{f.Name, describe(f.Type, seen)})
	}
	return info
}

// SameOrNone is Same for types of which both may be missing.
func SameOrNone(a, b *Type) bool { return a == b || a != nil && b != nil && Same(a, b) }

// TextOf returns a type in Go syntax; "" for none.
func TextOf(t *Type) string {
	if t == nil {
		return ""
	}
	return t.String()
}
