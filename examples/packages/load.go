package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/packages/debian"
)

// database is what the space holds: handles of 8 bytes each, not data.
type database struct {
	packages   everheap.Map[string, debian.Package] // by name; name:architecture for a second architecture
	dependents everheap.Map[string, []string]       // name -> keys of the packages that depend on it, sorted
}

// openDatabase finds the maps by their names, or makes them where that is allowed.
func openDatabase(sc everheap.Scope) (db database, err error) {
	if db.packages, err = everheap.OpenMap[string, debian.Package](sc, "packages"); err != nil {
		return db, err
	}
	db.dependents, err = everheap.OpenMap[string, []string](sc, "dependents")
	return db, err
}

// load makes the space hold the packages of a control file, and no others.
func load(name, file string, out io.Writer) error {
	start := time.Now()
	packages, err := readPackages(file)
	if err != nil {
		return err
	}
	parsed := time.Now()

	space, err := everheap.Open(name)
	if err != nil {
		return err
	}
	defer space.Close()
	if err := store(space, packages); err != nil {
		return err
	}
	stored := time.Now()
	if err := space.Close(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d packages from %s: read in %v, stored in %v\n",
		len(packages), file, round(parsed.Sub(start)), round(stored.Sub(parsed)))
	return nil
}

// readPackages returns the installed packages of a control file, by their keys.
func readPackages(file string) (map[string]*debian.Package, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	packages := make(map[string]*debian.Package)
	err = debian.Read(f, func(p *debian.Package) bool {
		if p.Installed() {
			key := p.Name
			if other := packages[key]; other != nil && other.Architecture != p.Architecture {
				key += ":" + p.Architecture
			}
			packages[key] = p
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("%s lists no installed packages; nothing was changed", file)
	}
	return packages, nil
}

// store replaces what the space holds in one transaction: others see the old packages until
// it commits, and then the new ones.
func store(space *everheap.Space, packages map[string]*debian.Package) error {
	dependents := index(packages)
	return space.Update(context.Background(), func(tx *everheap.Tx) error {
		db, err := openDatabase(tx)
		if err != nil {
			return err
		}
		for key := range db.packages.All(tx) {
			if packages[key] == nil {
				if _, err := db.packages.Delete(tx, key); err != nil {
					return err
				}
			}
		}
		for name := range db.dependents.All(tx) {
			if dependents[name] == nil {
				if _, err := db.dependents.Delete(tx, name); err != nil {
					return err
				}
			}
		}
		for key, p := range packages {
			if err := db.packages.Set(tx, key, *p); err != nil {
				return err
			}
		}
		for name, keys := range dependents {
			if err := db.dependents.Set(tx, name, keys); err != nil {
				return err
			}
		}
		return nil
	})
}

// index turns dependencies round: name -> keys of the packages that name it, as one of
// several alternatives or alone.
func index(packages map[string]*debian.Package) map[string][]string {
	dependents := make(map[string][]string)
	for key, p := range packages {
		for _, list := range [][]debian.Dependency{p.PreDepends, p.Depends} {
			for _, d := range list {
				for _, r := range d.Alternatives {
					dependents[r.Name] = append(dependents[r.Name], key)
				}
			}
		}
	}
	for name, keys := range dependents {
		slices.Sort(keys)
		dependents[name] = slices.Compact(keys)
	}
	return dependents
}
