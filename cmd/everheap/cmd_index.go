package main

import (
	"context"
	"errors"
	"fmt"

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

// indexInfo is an index, as index and info show it.
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

// kind says for people what the index is like.
func (x indexInfo) kind() string {
	if x.Unique {
		return "unique"
	}
	return ""
}

// indexInfos returns indexes as they are shown.
func indexInfos(list []everheap.IndexInfo) []indexInfo {
	infos := []indexInfo{}
	for _, x := range list {
		infos = append(infos, indexInfo{text(x.Name), x.Path, x.Unique, x.Len})
	}
	return infos
}
