package main

import (
	"fmt"
	"reflect"

	"github.com/alecthomas/kong"
)

// Arguments are bytes: a key that is not UTF-8 stays as it is. Kong's own mappers pass every string
// through JSON, which would put replacement characters into it.

// stringArgs are the options of kong that keep all strings as they were given.
func stringArgs() []kong.Option {
	return []kong.Option{
		kong.KindMapper(reflect.String, kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
			return setString(ctx, target, func(s string) string { return s })
		})),
		kong.NamedMapper("path", kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
			return setString(ctx, target, kong.ExpandPath)
		})),
	}
}

// setString sets a string to the next value, changed by a function.
func setString(ctx *kong.DecodeContext, target reflect.Value, change func(string) string) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	s, ok := token.Value.(string)
	if !ok {
		return fmt.Errorf("expected a string, not %v", token.Value)
	}
	target.SetString(change(s))
	return nil
}
