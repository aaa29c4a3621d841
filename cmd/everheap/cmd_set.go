package main

import (
	"fmt"
	"io"

	"github.com/everheap/everheap"
)

// setCmd stores a value.
type setCmd struct {
	mapArg
	Key   string `arg:"" help:"Key."`
	Value string `arg:"" name:"json" help:"Value as JSON; - reads it from standard input. Fields that it lacks are zero."`
	JSON  bool   `name:"json" help:"KEY is JSON, even if the keys are strings."`
	Text  bool   `help:"The value is a string, given as it is."`
	Sync  bool   `help:"Return when the change is on disk."`
}

// Run implements the verb.
func (c *setCmd) Run(std *streams) error {
	value, err := c.value(std)
	if err != nil {
		return err
	}
	return c.with(func(s *everheap.Space) error {
		m, err := collection(s, c.Map)
		if err != nil {
			return err
		}
		return m.SetJSON(s, keyJSON(m, c.Key, c.JSON), value)
	}, durability(c.Sync))
}

// value returns the value as JSON.
func (c *setCmd) value(s *streams) ([]byte, error) {
	text := []byte(c.Value)
	if c.Value == "-" {
		var err error
		if text, err = io.ReadAll(s.in); err != nil {
			return nil, fmt.Errorf("reading the value from standard input: %w", err)
		}
	}
	if c.Text {
		return stringJSON(string(text)), nil
	}
	return text, nil
}

// durability is what --sync asks for.
func durability(sync bool) everheap.Durability {
	if sync {
		return everheap.Durable
	}
	return everheap.Periodic
}
