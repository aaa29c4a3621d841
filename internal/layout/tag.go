package layout

import (
	"slices"
	"strings"
	"unicode"
)

// A tag of a field is a list of options with commas in between:
//
//	was=Name   a former name of the field
//	content    its type is of another package and has hidden pointers; they are followed
//	index      an index on the field
//	unique     an index that has each value once
//	index=A,B  an index on these fields of the struct, in this order; unique=A,B likewise
//	expires    the entry expires at the time in the field

// checkTag returns what is wrong with the tag of a field, as advice, or "".
func checkTag(tag string) string {
	if tag == "" {
		return ""
	}
	listing := false // the fields of an index
	for _, option := range strings.Split(tag, ",") {
		name, was := strings.CutPrefix(option, "was=")
		first, list := cutIndex(option)
		switch {
		case was && isIdentifier(name), option == "content", option == "index", option == "unique", option == "expires":
			listing = false
		case list && isPath(first):
			listing = true
		case listing && isPath(option):
		case list || listing:
			return "write its tag as everheap:\"index=Field,Other\", with fields of the struct: \"" + option + "\" is not a field"
		default:
			return "write its tag as everheap:\"was=OldName\", if it had another name: \"" + option + "\" is not an option"
		}
	}
	return ""
}

// cutIndex returns the first field of an index on several.
func cutIndex(option string) (first string, ok bool) {
	if first, ok = strings.CutPrefix(option, "index="); ok {
		return first, true
	}
	return strings.CutPrefix(option, "unique=")
}

// isPath reports whether a text can be the path of a field: names separated by dots.
func isPath(s string) bool {
	for _, name := range strings.Split(s, ".") {
		if !isIdentifier(name) {
			return false
		}
	}
	return true
}

// IndexTag is an index that the tag of a field asks for.
type IndexTag struct {
	Fields []string // of the struct; nil: the field itself
	Unique bool
}

// Indexes returns the indexes that the tag of a field asks for.
func (f *Field) Indexes() (list []IndexTag) {
	if f.Tag == "" {
		return nil
	}
	listing := false
	for _, option := range strings.Split(f.Tag, ",") {
		first, many := cutIndex(option)
		switch {
		case many:
			list = append(list, IndexTag{[]string{first}, strings.HasPrefix(option, "unique")})
		case option == "index" || option == "unique":
			list = append(list, IndexTag{nil, option == "unique"})
		case listing && option != "content" && option != "expires" && !strings.HasPrefix(option, "was="):
			last := &list[len(list)-1]
			last.Fields = append(last.Fields, option)
			continue
		}
		listing = many
	}
	return list
}

// Expires reports whether the tag of a field says that the entry expires at its time.
func (f *Field) Expires() bool { return f.Tag != "" && hasOption(f.Tag, "expires") }

// Former returns the former names of a field, from its tag.
func (f *Field) Former() []string { return f.was() }

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

// origin returns the stored field whose value a field of the program's type takes: the field of the
// same name, or of a former name; nil if neither exists. If two stored fields qualify, doubt says
// which.
//
// A stored field whose own tag has a former name was renamed before, and another field may have taken
// that name since.
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
