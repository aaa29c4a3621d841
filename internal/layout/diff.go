package layout

import "fmt"

// differ collects the differences between two types.
type differ struct {
	lines []string
	seen  map[[2]*Type]bool
}

// Diff returns how the stored type differs from that of the program, like a diff:
// "- field Old string", "+ field New []byte", "  field Age: stored int32, program int64".
// It is empty if, and only if, Same holds.
func Diff(stored, program *Type) []string {
	if Same(stored, program) {
		return nil
	}
	d := differ{seen: make(map[[2]*Type]bool)}
	d.types("", stored, program)
	if len(d.lines) == 0 {
		d.say("", "stored with another layout")
	}
	return d.lines
}

func (d *differ) say(path, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if path == "" {
		d.lines = append(d.lines, "  type: "+what)
		return
	}
	d.lines = append(d.lines, "  field "+path+": "+what)
}

func (d *differ) types(path string, a, b *Type) {
	if d.seen[[2]*Type{a, b}] {
		return
	}
	d.seen[[2]*Type{a, b}] = true
	switch {
	case a.kind != b.kind || a.kind == Array && a.length != b.length:
		d.say(path, "stored %s, program %s", a, b)
		return
	case a.name != b.name && !a.isHandle():
		d.say(path, "stored %s, program %s", a, b)
	}
	switch {
	case a.kind == Struct:
		d.structs(path, a, b)
	case a.key != nil:
		d.types(join(path, "key"), a.key, b.key)
		d.types(join(path, "value"), a.elem, b.elem)
	case a.isHandle():
		d.types(join(path, "value"), a.elem, b.elem)
	case a.kind == Pointer:
		d.types(path, a.elem, b.elem)
	case a.elem != nil:
		d.types(path+"[]", a.elem, b.elem)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (d *differ) structs(path string, a, b *Type) {
	before := len(d.lines)
	for i := range a.fields {
		f := &a.fields[i]
		if g := b.field(f.Name); g != nil {
			d.types(join(path, f.Name), f.Type, g.Type)
		} else {
			d.lines = append(d.lines, fmt.Sprintf("- field %s %s", join(path, f.Name), f.Type))
		}
	}
	for i := range b.fields {
		if f := &b.fields[i]; a.field(f.Name) == nil {
			d.lines = append(d.lines, fmt.Sprintf("+ field %s %s", join(path, f.Name), f.Type))
		}
	}
	if len(d.lines) > before {
		return
	}
	for i := range a.fields {
		f := &a.fields[i]
		if g := b.field(f.Name); g.Offset != f.Offset {
			d.say(join(path, f.Name), "stored at byte %d, program at byte %d", f.Offset, g.Offset)
		}
	}
	if a.size != b.size || a.align != b.align {
		d.say(path, "stored with %d bytes, program with %d", a.size, b.size)
	}
}

// field returns the field of that name, or nil.
func (t *Type) field(name string) *Field {
	for i := range t.fields {
		if t.fields[i].Name == name {
			return &t.fields[i]
		}
	}
	return nil
}
