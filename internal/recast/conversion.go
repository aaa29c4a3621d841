package recast

import (
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// conversionOf names a conversion: the descriptors of an object, and the program's type of handles
// for it.
type conversionOf struct {
	key, value uint64
	handle     *layout.Type
}

// conversion turns objects of some types into objects of others.
type conversion struct {
	kind   format.Kind
	handle *layout.Type
	key    *layout.Conversion // nil if the objects have no keys
	value  *layout.Conversion

	stored     struct{ key, value uint64 } // descriptors of the new types; 0 until looked up
	converters struct{ key, value *layout.Converter }
}

// newConversion compares stored types with those of a program. key types are nil if the kind has no
// keys.
func newConversion(kind format.Kind, storedKey, storedValue, key, value *layout.Type, steps []*layout.Step) *conversion {
	p := &conversion{kind: kind, value: layout.NewConversion(storedValue, value, steps)}
	if storedKey != nil && key != nil {
		p.key = layout.NewConversion(storedKey, key, steps)
	}
	return p
}

// conversion returns the conversion of an object's types to those of a program.
func (c *recast) conversion(of conversionOf) (*conversion, error) {
	if p := c.conversions[of]; p != nil {
		return p, nil
	}
	var key *layout.Type
	var err error
	if of.key != 0 {
		if key, err = c.ed.StoredType(of.key); err != nil {
			return nil, err
		}
	}
	value, err := c.ed.StoredType(of.value)
	if err != nil {
		return nil, err
	}
	p := newConversion(object.OfHandle(of.handle.Kind()), key, value, of.handle.Key(), of.handle.Elem(), c.how.Steps)
	p.handle = of.handle
	c.conversions[of] = p
	return p, nil
}

// descriptors returns the descriptors of the new types, storing them if the space has none.
func (c *recast) descriptors(p *conversion) (key, value uint64, err error) {
	if p.stored.value != 0 {
		return p.stored.key, p.stored.value, nil
	}
	if p.key != nil {
		if key, err = c.ed.TypeIndex(p.key.To); err != nil {
			return 0, 0, err
		}
	}
	if value, err = c.ed.TypeIndex(p.value.To); err != nil {
		return 0, 0, err
	}
	p.stored.key, p.stored.value = key, value
	return key, value, nil
}

// keyAndValue returns the converters of keys and values, which objects of the same types share.
func (p *conversion) keyAndValue() (key, value *layout.Converter) {
	c := &p.converters
	if c.value == nil {
		c.value = p.value.NewConverter()
		if p.key != nil {
			c.key = p.key.NewConverter()
		}
	}
	return c.key, c.value
}

// all reports whether is holds for all conversions.
func (p *conversion) all(is func(c *layout.Conversion) bool) bool {
	return (p.key == nil || is(p.key)) && is(p.value)
}

// done reports whether the objects already have the types.
func (p *conversion) done() bool {
	return p.all(func(c *layout.Conversion) bool { return layout.Same(c.From, c.To) })
}

// same reports whether the contents of the objects stay the same.
func (p *conversion) same() bool { return p.all((*layout.Conversion).Same) }

// possible reports whether the program accepts the conversion.
func (p *conversion) possible(evolve bool) bool {
	return p.all(func(c *layout.Conversion) bool { return c.Possible(evolve) })
}

// made reports whether functions of the program make the new values.
func (p *conversion) made() bool {
	return !p.all(func(c *layout.Conversion) bool { return !c.HasSteps() })
}

// affects reports whether handles of a type can refer to objects that are to be recast.
func (p *conversion) affects(handle *layout.Type) bool {
	return !p.all(func(c *layout.Conversion) bool { return !c.Affects(handle) })
}

// affectsAny reports whether any handle in the values can.
func (p *conversion) affectsAny() bool {
	return !p.all(func(c *layout.Conversion) bool { return !c.AffectsAny() })
}

// err returns the error for types that differ, or that the options, if there are any, do not
// accept.
func (p *conversion) err(how *TypeChange) *failure.TypeError {
	return edit.TypesDiffer(p.kind, p.key, p.value, how != nil && how.Evolve)
}
