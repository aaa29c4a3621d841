package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/everheap/everheap"
)

// getCmd prints a value, or entries, or the collections.
type getCmd struct {
	spaceArg
	Map    string  `arg:"" optional:"" help:"Name of the map, list or single value; without it, all are listed."`
	Key    *string `arg:"" optional:"" help:"Key, or index of a list; without it, all entries are printed, one JSON object a line, or the single value."`
	JSON   bool    `name:"json" help:"KEY is JSON, even if the keys are strings."`
	Raw    bool    `help:"Print a string as it is, without quotes."`
	Indent bool    `help:"Print the value over several lines, as is done on a terminal."`
	Limit  int     `help:"Print at most so many entries." placeholder:"N"`
}

// Run implements the verb.
func (c *getCmd) Run(std *streams) error {
	return c.read(func(s *everheap.Space) error {
		if c.Map == "" {
			return c.maps(s, std)
		}
		m, err := collection(s, c.Map)
		if err != nil {
			return err
		}
		if c.Key == nil && m.Kind() != singleValue {
			return c.entries(s, m, std)
		}
		return c.value(s, m, std)
	})
}

// maps lists the collections of the space.
func (c *getCmd) maps(s *everheap.Space, std *streams) error {
	list, err := s.Collections()
	if err != nil {
		return err
	}
	var maps []mapInfo
	for _, m := range list {
		maps = append(maps, mapInfo{m.Name, m.Kind, m.Key, m.Value, m.Len})
	}
	printMaps(std.out, maps)
	return nil
}

// entries prints the entries of a collection.
func (c *getCmd) entries(s *everheap.Space, m *everheap.Collection, std *streams) error {
	w := bufio.NewWriter(std.out)
	n := 0
	err := s.View(func(tx *everheap.Tx) error {
		for key, value := range m.AllJSON(tx) {
			if n++; c.Limit > 0 && n > c.Limit {
				return nil
			}
			if _, err := fmt.Fprintf(w, `{"key":%s,"value":%s}`+"\n", key, value); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, w.Flush())
}

// value prints one value.
func (c *getCmd) value(s *everheap.Space, m *everheap.Collection, std *streams) error {
	var key []byte
	if c.Key != nil {
		key = keyJSON(m, *c.Key, c.JSON)
	}
	value, err := m.GetJSON(s, key)
	if errors.Is(err, everheap.ErrNotFound) {
		return fmt.Errorf("%s has no key %s; everheap keys %s %s lists what it has", c.Map, *c.Key, c.Space, c.Map)
	}
	if err != nil {
		return err
	}
	if c.Raw {
		text, ok := plain(value)
		if !ok {
			return fmt.Errorf("--raw is for strings, but the values of %s are of type %s", c.Map, m.ValueType())
		}
		_, err = fmt.Fprint(std.out, text)
		return err
	}
	if c.Indent || isTerminal(std.out) {
		var b bytes.Buffer
		if err := json.Indent(&b, value, "", "  "); err != nil {
			return err
		}
		value = b.Bytes()
	}
	_, err = fmt.Fprintf(std.out, "%s\n", value)
	return err
}
