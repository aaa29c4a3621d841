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
	Map    string  `arg:"" optional:"" help:"Name of the map, list or single value; without it, list all names."`
	Key    *string `arg:"" optional:"" help:"Key, or index of a list; without it, print the single value, or every entry as a line of JSON."`
	JSON   bool    `name:"json" help:"KEY is JSON, even if the keys are strings."`
	Raw    bool    `help:"Print a string without quotes."`
	Indent bool    `help:"Print the value on several lines, as on a terminal."`
	Limit  int     `help:"Print at most N entries." placeholder:"N"`
	At     string  `help:"Read the version of this checkpoint." placeholder:"CHECKPOINT"`
}

// Run implements the verb.
func (c *getCmd) Run(std *streams) error {
	return c.readAt(std, c.At, func(tx *everheap.Tx) error {
		if c.Map == "" {
			return c.maps(tx, std)
		}
		m, err := collection(tx, c.Map)
		if err != nil {
			return err
		}
		if c.Key == nil && m.Kind() != singleValue {
			return c.entries(tx, m, std)
		}
		return c.value(tx, m, std)
	})
}

// maps lists the collections of the space.
func (c *getCmd) maps(tx *everheap.Tx, std *streams) error {
	list, err := tx.Collections()
	if err != nil {
		return err
	}
	var maps []mapInfo
	for _, m := range list {
		maps = append(maps, mapInfo{text(m.Name), m.Kind, m.Key, m.Value, m.Len, nil, ""})
	}
	printMaps(std.out, maps)
	return nil
}

// entries prints the entries of a collection.
func (c *getCmd) entries(tx *everheap.Tx, m *everheap.Collection, std *streams) (err error) {
	w := bufio.NewWriter(std.out)
	defer func() { err = errors.Join(err, w.Flush()) }()
	n := 0
	for key, value := range m.AllJSON(tx) {
		if n++; c.Limit > 0 && n > c.Limit {
			return nil
		}
		if _, err := fmt.Fprintf(w, `{"key":%s,"value":%s}`+"\n", key, value); err != nil {
			return err
		}
	}
	return nil
}

// value prints one value.
func (c *getCmd) value(tx *everheap.Tx, m *everheap.Collection, std *streams) error {
	var key []byte
	if c.Key != nil {
		key = keyJSON(m, *c.Key, c.JSON)
	}
	value, err := m.GetJSON(tx, key)
	if errors.Is(err, everheap.ErrNotFound) && c.Key != nil {
		return fmt.Errorf("%s has no key %s; everheap keys %s%s %s lists what it has", c.Map, *c.Key, atFlag(c.At), c.Space, c.Map)
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
