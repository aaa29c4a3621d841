package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/packages/debian"
)

// query looks for something in the space, and returns how to print what it found. What it
// found is not copied: strings and structs lie in the space, and are valid until tx ends.
type query func(tx *everheap.Tx, db database) (print func(io.Writer), err error)

// found is a package and the key that leads to it.
type found struct {
	key string
	*debian.Package
}

// reverseDependencies asks which packages depend on name, or on something that it provides.
func reverseDependencies(name string) query {
	return func(tx *everheap.Tx, db database) (func(io.Writer), error) {
		direct := dependentsOf(tx, db, name)
		if direct == nil && db.packages.Peek(tx, name) == nil {
			return nil, unknown(tx, db, name)
		}
		rows := peek(tx, db, direct)
		all := closure(tx, db, name)
		return func(w io.Writer) {
			if len(rows) == 0 {
				fmt.Fprintf(w, "nothing depends on %s\n", name)
				return
			}
			printTable(w, rows)
			verb := "depend"
			if len(rows) == 1 {
				verb = "depends"
			}
			fmt.Fprintf(w, "\n%s %s on %s directly, %d in all\n", plural(len(rows), "package"), verb, name, all)
		}, nil
	}
}

// dependentsOf returns the keys of the packages that name name, or what it provides; sorted.
// It returns nil if there are none.
func dependentsOf(tx *everheap.Tx, db database, name string) []string {
	names := []string{name}
	if p := db.packages.Peek(tx, name); p != nil {
		names[0] = p.Name
		names = append(names, p.Provides...)
	}
	var keys []string
	for _, n := range names {
		if list := db.dependents.Peek(tx, n); list != nil {
			keys = append(keys, *list...)
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return slices.DeleteFunc(keys, func(key string) bool { return key == name })
}

// closure counts the packages that need name, directly or through others.
func closure(tx *everheap.Tx, db database, name string) int {
	seen := map[string]bool{name: true}
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		for _, key := range dependentsOf(tx, db, queue[0]) {
			if !seen[key] {
				seen[key] = true
				queue = append(queue, key)
			}
		}
	}
	return len(seen) - 1
}

// largest asks for the n packages that take most space.
func largest(n int) query {
	return func(tx *everheap.Tx, db database) (func(io.Writer), error) {
		var rows []found
		var total int64
		for key, p := range db.packages.All(tx) {
			rows = append(rows, found{key, p})
			total += p.InstalledSize
		}
		count := len(rows)
		slices.SortFunc(rows, func(a, b found) int {
			return cmp.Or(cmp.Compare(b.InstalledSize, a.InstalledSize), cmp.Compare(a.key, b.key))
		})
		rows = rows[:min(n, len(rows))]
		var shown int64
		for _, r := range rows {
			shown += r.InstalledSize
		}
		return func(w io.Writer) {
			printTable(w, rows)
			fmt.Fprintf(w, "\n%s of %s in %s\n", mib(shown), mib(total), plural(count, "package"))
		}, nil
	}
}

// search asks for the packages that have word in their name, summary or description, in upper
// or lower case; those with it in their name come first.
func search(word string) query {
	return func(tx *everheap.Tx, db database) (func(io.Writer), error) {
		lower := strings.ToLower(word)
		has := func(text string) bool { return strings.Contains(strings.ToLower(text), lower) }
		var named, described []found
		for key, p := range db.packages.All(tx) {
			switch {
			case has(key):
				named = append(named, found{key, p})
			case has(p.Summary) || has(p.Description):
				described = append(described, found{key, p})
			}
		}
		byKey := func(a, b found) int { return cmp.Compare(a.key, b.key) }
		slices.SortFunc(named, byKey)
		slices.SortFunc(described, byKey)
		rows := append(named, described...)
		return func(w io.Writer) {
			printTable(w, rows)
			if len(rows) > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintf(w, "%s with %q\n", plural(len(rows), "package"), word)
		}, nil
	}
}

// show asks for all about one package.
func show(key string) query {
	return func(tx *everheap.Tx, db database) (func(io.Writer), error) {
		p := db.packages.Peek(tx, key)
		if p == nil {
			return nil, unknown(tx, db, key)
		}
		dependents := dependentsOf(tx, db, key)
		return func(w io.Writer) { printPackage(w, p, dependents) }, nil
	}
}

// unknown says that there is no package called name, and which packages provide it, if any.
func unknown(tx *everheap.Tx, db database, name string) error {
	var providers []string
	for key, p := range db.packages.All(tx) {
		if slices.Contains(p.Provides, name) {
			providers = append(providers, key)
		}
	}
	if len(providers) == 0 {
		return fmt.Errorf("no package %q is loaded; try: packages search %s", name, name)
	}
	slices.Sort(providers)
	return fmt.Errorf("%q is a virtual package; it is provided by %s", name, strings.Join(providers, ", "))
}

// peek returns the packages with the given keys.
func peek(tx *everheap.Tx, db database, keys []string) []found {
	rows := make([]found, 0, len(keys))
	for _, key := range keys {
		if p := db.packages.Peek(tx, key); p != nil {
			rows = append(rows, found{key, p})
		}
	}
	return rows
}
