package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// OneLine makes a name fit into a comment.
func OneLine(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// HandleLine returns the type of the handles of an object of a kind, such as map, on one line.
func (s *Source) HandleLine(kind string, key, value *Type) string {
	k := map[string]HandleKind{"map": Map, "sorted": Sorted, "list": List, "ref": Ref}[kind]
	parts := []*Type{value}
	if k == Map || k == Sorted {
		parts = []*Type{key, value}
	}
	return strings.ReplaceAll(strings.ReplaceAll(s.Handle(k, parts...), "\n\t", " "), "\n", "; ")
}

// File returns a source file of the package stored with all declarations; head is its comment.
func (s *Source) File(head string) []byte {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("package stored\n")
	switch imports := s.Imports(); len(imports) {
	case 0:
	case 1:
		fmt.Fprintf(&b, "\nimport %q\n", imports[0])
	default: // the standard library first
		slices.SortFunc(imports, func(a, b string) int {
			return cmp.Or(cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), cmp.Compare(a, b))
		})
		b.WriteString("\nimport (\n")
		for i, path := range imports {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "\t%q\n", path)
		}
		b.WriteString(")\n")
	}
	for _, d := range s.Declarations() {
		b.WriteString("\n" + d)
	}
	return []byte(b.String())
}
