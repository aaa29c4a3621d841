package layout

import (
	"slices"
	"strings"
	"unicode"
)

// A tag of a field is a list of options with commas in between:
//
//	was=Name  a former name of the field
//	content   its type is one of another package with hidden pointers; they are followed

// checkTag returns what is wrong with the tag of a field, as advice, or "".
func checkTag(tag string) string {
	if tag == "" {
		return ""
	}
	for _, option := range strings.Split(tag, ",") {
		if name, ok := strings.CutPrefix(option, "was="); option != "content" && (!ok || !isIdentifier(name)) {
			return "write its tag as everheap:\"was=OldName\", if it had another name: \"" + option + "\" says nothing"
		}
	}
	return ""
}

// hasOption reports whether a tag has an option without a value.
func hasOption(tag, option string) bool { return slices.Contains(strings.Split(tag, ","), option) }

func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}

// was returns the former names of a field.
func (f *Field) was() (names []string) {
	if f.Tag == "" {
		return nil
	}
	for _, option := range strings.Split(f.Tag, ",") {
		if name, ok := strings.CutPrefix(option, "was="); ok {
			names = append(names, name)
		}
	}
	return names
}

// origin returns the stored field whose value a field of the program's type takes:
// the one of its own name, or of a former name; nil if there is none. What can be
// read in two ways is refused: doubt says why.
//
// A stored field that has a former name on its own tag was renamed already: another
// field of the former name has come since.
func origin(stored, program *Type, f *Field) (g *Field, doubt string) {
	own := stored.field(f.Name)
	var former *Field
	for _, name := range f.was() {
		g := stored.field(name)
		switch {
		case g == nil || name == f.Name:
			continue
		case own != nil && (program.field(name) != nil || slices.Contains(own.was(), name)):
			continue
		case own != nil:
			return nil, "there are both " + f.Name + " and " + name
		case program.field(name) != nil:
			return nil, "there is a new " + name + ", too"
		case former != nil:
			return nil, "there are both " + former.Name + " and " + name
		}
		former = g
	}
	if own != nil {
		return own, ""
	}
	return former, ""
}
