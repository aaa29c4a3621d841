package untyped

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/layout"
)

// Source returns a Go source file that declares the stored types of the named collections, or of all
// of them if names is empty. library is the import path of the package with the handles.
func Source(list []NamedObject, space, library string, names []string) ([]byte, error) {
	for _, name := range names {
		if !slices.ContainsFunc(list, func(o NamedObject) bool { return o.Name == name }) {
			return nil, fmt.Errorf("%w: the space has nothing named %q", failure.ErrNotFound, name)
		}
	}
	if len(names) > 0 {
		list = slices.DeleteFunc(list, func(o NamedObject) bool { return !slices.Contains(names, o.Name) })
	}
	slices.SortFunc(list, func(a, b NamedObject) int { return cmp.Compare(a.Name, b.Name) })
	source := layout.NewSource(library)
	var head strings.Builder
	fmt.Fprintf(&head, "// Package stored declares the types of what is stored in the space %s:\n//\n", layout.OneLine(space))
	for _, o := range list {
		fmt.Fprintf(&head, "//\t%s\t%s\n", layout.OneLine(o.Name), source.HandleLine(o.Kind, o.Key, o.Value))
	}
	return source.File(head.String()), nil
}
