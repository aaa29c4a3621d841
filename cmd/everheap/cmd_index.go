package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everheap/everheap"
)

// indexCmd lists, declares and drops indexes.
type indexCmd struct {
	mapArg
	Name   string `arg:"" optional:"" help:"Name of the index. Without it the indexes are listed."`
	Fields string `arg:"" optional:"" help:"Field that the new index is on: 'Email', 'Address.City', or several as in 'City,Name'."`
	Unique bool   `help:"Refuse a second entry with the same value."`
	Drop   bool   `help:"Drop the index."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// indexInfo is an index, in the form that index and info print.
type indexInfo struct {
	Name   text   `json:"name"`
	Fields string `json:"fields"`
	Unique bool   `json:"unique"`
	Len    uint64 `json:"len"`
}

// Run implements the verb.
func (c *indexCmd) Run(ctx context.Context, std *streams) error {
	switch {
	case c.Name == "" && (c.Drop || c.Unique):
		return errors.New("which index? give its name")
	case c.Name == "":
		return c.read(std, func(s *everheap.Space) error { return c.list(s, std) })
	case c.Drop && c.Fields != "":
		return errors.New("an index is dropped by its name alone")
	case !c.Drop && c.Fields == "":
		return errors.New("which field? give one, such as Email, or several, such as 'City,Name'")
	}
	return c.with(func(s *everheap.Space) error {
		if _, err := collection(s, c.Map); err != nil {
			return err
		}
		if c.Drop {
			removed, err := everheap.DropIndex(s, c.Map, c.Name)
			if err == nil && !removed {
				err = fmt.Errorf("%s has no index %q", c.Map, c.Name)
			}
			if err != nil {
				return err
			}
			return s.Sync(ctx)
		}
		var opts []everheap.IndexOption
		if c.Unique {
			opts = append(opts, everheap.Unique)
		}
		if err := everheap.CreateIndex(s, c.Map, c.Name, c.Fields, opts...); err != nil {
			return err
		}
		return s.Sync(ctx)
	})
}

// list prints the indexes of the collection.
func (c *indexCmd) list(s *everheap.Space, std *streams) error {
	if _, err := collection(s, c.Map); err != nil {
		return err
	}
	all, err := s.Collections()
	if err != nil {
		return err
	}
	list := []indexInfo{}
	for _, m := range all {
		if m.Name == c.Map {
			list = indexInfos(m.Indexes)
		}
	}
	if c.JSON {
		return printJSON(std.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintf(std.out, "%s has no index\n", c.Map)
		return nil
	}
	t := newTable("INDEX", ">ENTRIES", "FIELDS", "")
	for _, x := range list {
		t.add(string(x.Name), count(x.Len), x.Fields, x.kind())
	}
	t.print(std.out, "")
	return nil
}

// kind describes the index for people.
func (x indexInfo) kind() string {
	if x.Unique {
		return "unique"
	}
	return ""
}

// indexInfos returns indexes in the form that index and info print.
func indexInfos(list []everheap.IndexInfo) []indexInfo {
	infos := []indexInfo{}
	for _, x := range list {
		infos = append(infos, indexInfo{text(x.Name), x.Path, x.Unique, x.Len})
	}
	return infos
}

// expireCmd says when the entries of a map expire.
type expireCmd struct {
	mapArg
	Field string        `arg:"" optional:"" help:"Field with the time at which an entry expires: 'Until', 'Session.Until'. The zero time is never."`
	TTL   time.Duration `name:"ttl" help:"Let an entry expire that long after it was stored last: '30m'."`
	Fixed bool          `help:"With --ttl: after its key was added, whatever is stored later."`
	Drop  bool          `help:"End that entries expire. What has expired is gone."`
}

// Run implements the verb.
func (c *expireCmd) Run(ctx context.Context, std *streams) error {
	ways := 0
	for _, way := range []bool{c.Field != "", c.TTL != 0, c.Drop} {
		if way {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("give one of a field, --ttl and --drop")
	case c.Fixed && c.TTL == 0:
		return errors.New("--fixed goes with --ttl")
	case ways == 0:
		return c.read(std, func(s *everheap.Space) error { return c.show(s, std) })
	}
	return c.with(func(s *everheap.Space) error {
		if _, err := collection(s, c.Map); err != nil {
			return err
		}
		if err := c.declare(s); err != nil {
			return err
		}
		return s.Sync(ctx)
	})
}

// declare declares how entries expire, or drops the declaration.
func (c *expireCmd) declare(s *everheap.Space) error {
	switch {
	case c.Drop:
		removed, err := everheap.DropExpiry(s, c.Map)
		if err == nil && !removed {
			err = fmt.Errorf("the entries of %s do not expire", c.Map)
		}
		return err
	case c.Field != "":
		return everheap.ExpireAt(s, c.Map, c.Field)
	case c.Fixed:
		return everheap.SetTTL(s, c.Map, c.TTL, everheap.Fixed)
	}
	return everheap.SetTTL(s, c.Map, c.TTL)
}

// show prints how entries expire.
func (c *expireCmd) show(s *everheap.Space, std *streams) error {
	if _, err := collection(s, c.Map); err != nil {
		return err
	}
	all, err := s.Collections()
	for _, m := range all {
		if m.Name != c.Map {
			continue
		}
		if m.Expiry == "" {
			fmt.Fprintf(std.out, "the entries of %s do not expire\n", c.Map)
		} else {
			fmt.Fprintf(std.out, "the entries of %s expire %s\n", c.Map, m.Expiry)
		}
	}
	return err
}
