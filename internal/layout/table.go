package layout

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

// A built-in map is stored as a table: a part with the same contents as a Dict. Only Go's runtime can
// read its maps, so the stored value differs from the program's value (LY9): by value a map is one
// word, 0 for nil, else the address of the table. If two fields share a map, each gets a table of its
// own.
//
// Measuring a map makes its table, and CopyOut makes a map from the table. All code in between
// handles the stored form.

// A map of a type that reaches itself may contain itself, and the measuring would never end. So it
// ends when the maps met again have more than maxRepeated entries in all. Maps of other types may be
// met any number of times.
const maxRepeated = 250_000

// ErrCyclicMap: a built-in map contains itself.
var ErrCyclicMap = errors.New("everheap: a built-in map contains itself, or maps of its type contain it so often that the copies have more than 250,000 entries; use pointers, or a Map")

// errTwin: two keys of a built-in map have the same stored form.
var errTwin = errors.New("everheap: two keys of a map mean the same where they are stored, as times of one instant in two locations do; give the map one of them")

// mentions knows the maps met so far.
type mentions struct {
	met      map[unsafe.Pointer]bool
	repeated int // entries of the maps that were met again
}

// note notes the map m of a type that reaches itself.
func (s *mentions) note(m reflect.Value) error {
	at := m.UnsafePointer()
	if at == nil {
		return nil
	}
	if s.met[at] {
		if s.repeated += m.Len() + 1; s.repeated > maxRepeated {
			return ErrCyclicMap
		}
		return nil
	}
	if s.met == nil {
		s.met = map[unsafe.Pointer]bool{}
	}
	s.met[at] = true
	return nil
}

// BorrowError says that values of a type cannot be read in place.
type BorrowError struct {
	Type  string // the type to be borrowed
	Path  string // of the field that prevents it; empty if it is the type itself
	Field string // its type
	Use   string // what could be used instead
}

// Error names the field, and says what to do.
func (e *BorrowError) Error() string {
	at := ""
	if e.Path != "" {
		at = ": field " + e.Path
	}
	return "everheap: values of type " + e.Type + " cannot be read in place" + at + " (" + e.Field +
		") is made anew for each copy; use Get or Copies, or store " + e.Use
}

// fillTable completes the type of a built-in map.
func (c *compiler) fillTable(t *Type, rt reflect.Type) (err error) {
	t.kind = Table
	if t.key, err = c.at(".key", rt.Key()); err != nil {
		return err
	}
	if t.elem, err = c.at(".value", rt.Elem()); err != nil {
		return err
	}
	words := reflect.TypeFor[[]uint32]()
	rows := reflect.SliceOf(reflect.StructOf([]reflect.StructField{{Name: "Key", Type: rt.Key()}, {Name: "Value", Type: rt.Elem()}}))
	whole := reflect.StructOf([]reflect.StructField{{Name: "EverheapIndex", Type: words}, {Name: "EverheapEntries", Type: rows}})
	if part := c.nodes[whole]; part != nil {
		t.table = part
		return nil
	}
	t.table = &Type{kind: Dict, rt: whole, size: dictSize, align: 8, key: t.key, elem: t.elem}
	c.nodes[whole] = t.table
	c.order = append(c.order, t.table)
	if t.table.index, err = c.node(words); err != nil {
		return err
	}
	t.table.entries, err = c.node(rows)
	return err
}

// leadsToCopies reports whether values of rt contain built-in maps or interfaces. Those inside parts
// that are stored by their own methods do not count. It looks at Go types alone, so that the stored
// form of a type does not depend on which types were compiled before.
func leadsToCopies(rt reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[rt] {
		return false
	}
	seen[rt] = true
	part := func(of reflect.Type) bool {
		return marshalerKind(of) == Invalid && leadsToCopies(of, seen)
	}
	switch rt.Kind() {
	case reflect.Map, reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return part(rt.Elem())
	case reflect.Struct:
		if handleMarker(rt) != nil || rt.ConvertibleTo(timeType) || addressKind(rt) != Invalid {
			return false
		}
		for i := range rt.NumField() {
			if f := rt.Field(i); f.Name != "_" && part(f.Type) {
				return true
			}
		}
	}
	return false
}

// CopyOnly returns nil if values can be read in place, or lent as a copy, else a
// *BorrowError.
func (t *Type) CopyOnly() error {
	if !t.copies {
		return nil // inlined: every Peek comes here
	}
	return t.borrowError()
}

func (t *Type) borrowError() error {
	path, m := t.pathToTable(map[*Type]bool{})
	e := &BorrowError{Type: t.String(), Path: strings.TrimPrefix(path, "."), Field: m.String()}
	e.Use = "a concrete type"
	if m.kind == Table {
		e.Use = "everheap.Dict[" + m.key.String() + ", " + m.elem.String() + "]"
	}
	return e
}

// pathToTable returns the first built-in map or interface that t reaches, and its path.
func (t *Type) pathToTable(seen map[*Type]bool) (string, *Type) {
	if t.kind == Table || t.kind == Interface {
		return "", t
	}
	if seen[t] {
		return "", nil
	}
	seen[t] = true
	steps := map[Kind]string{Slice: "[]", Array: "[]", Dict: ".value"}
	switch t.kind {
	case Struct:
		for i := range t.fields {
			if path, m := t.fields[i].Type.pathToTable(seen); m != nil {
				return "." + t.fields[i].Name + path, m
			}
		}
	case Slice, Array, Pointer, Dict:
		path, m := t.elem.pathToTable(seen)
		return steps[t.kind] + path, m
	}
	return "", nil
}

// mapAt returns the map in the variable of the program at p. It does not keep the address.
func (t *Type) mapAt(p unsafe.Pointer) reflect.Value {
	m := loadPointer(p)
	return reflect.NewAt(t.rt, unsafe.Pointer(&m)).Elem()
}

// tableOf makes the table of a map of the program; nil if the map is nil. Errors: errTwin, ErrNaN,
// ErrChanged, and that of a method of a key.
func (t *Type) tableOf(m reflect.Value) (unsafe.Pointer, error) {
	if m.IsNil() {
		return nil, nil
	}
	d := reflect.New(t.table.rt)
	if m.Len() == 0 {
		return d.UnsafePointer(), nil
	}
	rows := reflect.MakeSlice(t.table.entries.rt, m.Len(), m.Len())
	n := 0
	for entries := m.MapRange(); entries.Next(); n++ {
		if n == rows.Len() {
			return nil, ErrChanged
		}
		row := rows.Index(n)
		row.Field(0).SetIterKey(entries)
		row.Field(1).SetIterValue(entries)
	}
	if n != rows.Len() {
		return nil, ErrChanged
	}
	k := &dictKey{typ: t.key, how: t.key.dictHash(), size: t.key.size}
	sorted, err := k.sort(rows)
	if err != nil {
		return nil, err
	}
	hash := func(i int) (h uint64) {
		h, err2 := k.hash(sorted.Index(i).Field(0).Addr().UnsafePointer())
		if err == nil {
			err = err2
		}
		return h
	}
	if n <= dictScan && k.how > hashString {
		for i := range n {
			hash(i) // finds NaN
		}
	}
	d.Elem().Field(0).Set(reflect.ValueOf(DictIndex(n, hash)))
	d.Elem().Field(1).Set(sorted)
	if err != nil {
		return nil, err
	}
	return d.UnsafePointer(), nil
}

// sort returns the rows of key and value in the order of the keys.
func (k *dictKey) sort(rows reflect.Value) (sorted reflect.Value, err error) {
	order := make([]int, rows.Len())
	for i := range order {
		order[i] = i
	}
	twin := false
	slices.SortFunc(order, func(a, b int) int {
		x, y := rows.Index(a).Field(0).Addr().UnsafePointer(), rows.Index(b).Field(0).Addr().UnsafePointer()
		c, err2 := k.compare(x, y)
		if err == nil {
			err = err2
		}
		twin = twin || c == 0 && a != b && err2 == nil
		return c
	})
	if err != nil {
		return sorted, err
	}
	sorted = reflect.MakeSlice(rows.Type(), rows.Len(), rows.Len())
	for i, from := range order {
		sorted.Index(i).Set(rows.Index(from))
	}
	if twin {
		return sorted, k.twin(sorted)
	}
	return sorted, nil
}

// twin returns why sorted keys contain one key twice: ErrNaN, or errTwin.
func (k *dictKey) twin(sorted reflect.Value) error {
	for i := range sorted.Len() {
		if _, err := k.hash(sorted.Index(i).Field(0).Addr().UnsafePointer()); err != nil {
			return err
		}
	}
	return errTwin
}

// table measures the map at p.
func (m *measurer) table(t *Type, p unsafe.Pointer) (err error) {
	var at unsafe.Pointer
	if m.program {
		of := t.mapAt(p)
		if t.loops {
			if err := m.ids.mentions.note(of); err != nil {
				return err
			}
		}
		if at, err = t.tableOf(of); err != nil {
			return err
		}
		if m.codes == nil {
			m.codes = &codes{}
		}
		m.codes.list = append(m.codes.list, code{typ: t, table: at})
	} else if word(p, 0) != 0 {
		if !m.b.holds(word(p, 0), dictSize) || word(p, 0)%8 != 0 {
			return damage(t, m.b, p, "a table outside its block")
		}
		at = loadPointer(p)
	}
	if at == nil {
		return nil
	}
	m.n = alignUp(m.n, 8) + dictSize
	if m.n > m.limit {
		return ErrTooLarge
	}
	return m.run(t.table, at)
}

// table places the map at p. It reports false if the value has changed.
func (f *flattener) table(t *Type, p, to unsafe.Pointer) bool {
	at := unsafe.Pointer(nil)
	if f.codes == nil {
		at = loadPointer(p)
	} else {
		c, ok := f.codes.nextAny(t)
		if !ok {
			return false
		}
		at = c.table
	}
	if at == nil {
		setWord(to, 0, 0)
		return true
	}
	off, ok := f.reserve(dictSize, 8)
	if !ok {
		return false
	}
	move(unsafe.Add(f.rw, off), at, dictSize)
	setWord(to, 0, f.ro+off)
	return f.run(t.table, at, off) == nil
}

// table stores a new map, made from the table at p, in the variable at the address to.
func (c *copier) table(t *Type, to, p unsafe.Pointer) error {
	dst := reflect.NewAt(t.rt, to).Elem()
	var at unsafe.Pointer
	if c.b == everywhere { // a value of the program
		of := t.mapAt(p)
		err := error(nil)
		if t.loops {
			err = c.ids.mentions.note(of)
		}
		if err == nil {
			at, err = t.tableOf(of)
		}
		if err != nil {
			return err
		}
	} else if word(p, 0) != 0 {
		if !c.b.holds(word(p, 0), dictSize) || word(p, 0)%8 != 0 {
			return damage(t, c.b, p, "a table outside its block")
		}
		at = loadPointer(p)
	}
	if at == nil {
		dst.SetZero()
		return nil
	}
	e, h := t.table.entries.elem, unsafe.Add(at, dictEntries)
	n := word(h, 8)
	if n > maxOwned || n > 0 && (!c.b.holds(word(h, 0), n*e.size) || word(h, 0)%e.align != 0) {
		return damage(t, c.b, p, "the entries of a table outside its block")
	}
	if err := c.spend(t, p, dictSize+n*e.size); err != nil {
		return err
	}
	if e.size == 0 && n > 1 {
		return damage(t, c.b, p, "a table that has a key twice")
	}
	made := reflect.MakeMapWithSize(t.rt, int(n))
	dst.Set(made)
	switch {
	case n == 0:
	case t.loops: // later, so that nested maps need no recursion
		c.ids.push(work{src: loadPointer(h), dst: made.UnsafePointer(), off: fillTable, n: n, typ: t})
	default:
		return c.fill(t, made, loadPointer(h), n)
	}
	return nil
}

// fill puts the n entries at src into a map.
func (c *copier) fill(t *Type, made reflect.Value, src unsafe.Pointer, n uintptr) error {
	e, arena := t.table.entries.elem, c.arena
	budget := c.budget
	total, err := c.sum(e, src, n, &budget)
	if err != nil {
		return err
	}
	c.arena = make([]byte, total) // exactly enough: every map that refers to the arena keeps all of it alive
	row := reflect.New(e.rt).Elem()
	for i := range n {
		row.SetZero()
		if err := c.run(e, row.Addr().UnsafePointer(), unsafe.Add(src, i*e.size)); err != nil {
			return err
		}
		made.SetMapIndex(row.Field(0), row.Field(1))
	}
	c.arena = arena
	return nil
}

// fillTable, as the offset of work, marks the work of filling a map.
const fillTable = 1

// fillLater fills a map that table has made.
func (c *copier) fillLater(w work) error {
	m := w.dst // a map variable is a pointer
	return c.fill(w.typ, reflect.NewAt(w.typ.rt, unsafe.Pointer(&m)).Elem(), w.src, w.n)
}

// table checks the address at p, and the table there.
func (w *walker) table(t *Type, p unsafe.Pointer) error {
	at, err := w.part(t, p, 0, dictSize, 8)
	if err != nil || at == nil {
		return err
	}
	if err := w.spend(t, p, dictSize); err != nil {
		return err
	}
	shared, err := w.dict(t.table, at)
	if err == nil && shared {
		return damage(t, w.b, p, "two tables with the same entries")
	}
	return err
}

// sameTables is sameParts for maps: nil and empty ones differ.
func (t *Type) sameTables(p, q unsafe.Pointer) bool {
	a, b := loadPointer(p), loadPointer(q)
	if a == nil || b == nil {
		return a == b
	}
	return t.table.sameParts(a, b)
}

// table writes the map at p.
func (w *printer) table(t *Type, p unsafe.Pointer) error {
	if word(p, 0) == 0 {
		w.b = append(w.b, "null"...)
		return nil
	}
	return w.dict(t.table, loadPointer(p))
}

// table stores a map, from null or the JSON of a Dict.
func (d *parser) table(t *Type, off uintptr, v any) error {
	if v == nil {
		return nil
	}
	at, err := d.alloc(dictSize, 8)
	if err != nil {
		return err
	}
	d.put(off, 8, uint64(at+1))
	return d.dict(t.table, at, v)
}

// table writes the map at p.
func (w *packer) table(t *Type, p unsafe.Pointer) {
	if word(p, 0) == 0 {
		w.length(nilLength)
		return
	}
	w.dict(t.table, loadPointer(p))
}

// table reads a map to the offset.
func (u *unpacker) table(t *Type, off uintptr) error {
	if b := u.b[u.pos:]; len(b) >= 4 && string(b[:4]) == "\xff\xff\xff\xff" {
		u.pos += 4
		return nil
	}
	at, err := u.alloc(dictSize, 8)
	if err != nil {
		return err
	}
	u.d.put(off, 8, uint64(at+1))
	return u.dict(t.table, at)
}

// tables compiles the conversion of maps, of a map into a Dict, or of a Dict into a map.
func (m *matcher) tables(path string, p *seen, a, b *Type) *conv {
	table := &conv{code: convDict, from: a, to: b, elem: m.dict(path, p, a, b), same: true}
	m.order = append(m.order, &seen{conv: table})
	return table
}

// table converts a map, to a map or a Dict.
func (x *Converter) table(c *conv, dst, src unsafe.Pointer) error {
	at := loadPointer(src)
	if c.from.kind == Dict {
		at = src
	}
	if at == nil {
		return nil
	}
	if c.to.kind == Table {
		p, err := x.place(dictSize)
		if err != nil {
			return err
		}
		setWord(dst, 0, uintptr(p))
		dst = p
	}
	return x.run(c.elem, dst, at)
}
