package layout

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"net/netip"
	"unicode/utf8"
	"unsafe"
)

// The functions below handle coded values without their Go types: as text, and in order.

// netAddress is what the address types of netip have in common.
type netAddress interface {
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
	encoding.TextMarshaler
	encoding.TextUnmarshaler
}

// newAddress returns a variable of the type of netip that t is.
func (t *Type) newAddress() netAddress {
	switch t.kind {
	case AddrPort:
		return new(netip.AddrPort)
	case Prefix:
		return new(netip.Prefix)
	}
	return new(netip.Addr)
}

// textOf returns the stored bytes of a coded value as text. all reports whether bytesOf would turn
// the text into the same bytes.
func (t *Type) textOf(b []byte) (text []byte, all bool) {
	switch {
	case t.kind == Binary:
		return nil, false
	case t.kind == Text || b == nil:
		return b, true
	}
	a := t.newAddress()
	err := a.UnmarshalBinary(b)
	if err == nil {
		text, err = a.MarshalText()
	}
	if err != nil {
		return nil, false
	}
	back, err := t.bytesOf(string(text))
	return text, err == nil && bytes.Equal(back, b) && utf8.Valid(text)
}

// bytesOf returns the stored bytes for the text of a value that is not Binary. The empty text of an
// address gives nil.
func (t *Type) bytesOf(text string) ([]byte, error) {
	switch {
	case t.kind == Text:
		return []byte(text), nil
	case text == "":
		return nil, nil
	}
	a := t.newAddress()
	if err := a.UnmarshalText([]byte(text)); err != nil {
		return nil, err
	}
	return a.MarshalBinary()
}

// compareCoded orders two coded values: addresses as Compare of netip does, others by their bytes,
// after the zero value. Damaged values get some place in the order.
func (t *Type) compareCoded(x, y []byte) int {
	switch t.kind {
	case Addr:
		return addrOf(x).Compare(addrOf(y))
	case AddrPort:
		return addrPortOf(x).Compare(addrPortOf(y))
	case Prefix:
		return comparePrefixes(prefixOf(x), prefixOf(y))
	}
	if (x == nil) != (y == nil) {
		if x == nil {
			return -1
		}
		return 1
	}
	return bytes.Compare(x, y)
}

func addrOf(b []byte) (a netip.Addr) {
	_ = a.UnmarshalBinary(b)
	return a
}

func addrPortOf(b []byte) (a netip.AddrPort) {
	_ = a.UnmarshalBinary(b)
	return a
}

func prefixOf(b []byte) (a netip.Prefix) {
	if len(b) > 0 { // unmarshaling no bytes would not give the zero value
		_ = a.UnmarshalBinary(b)
	}
	return a
}

// comparePrefixes orders by masked address, then by bits, then by address. Stored maps depend on this
// order, so it stays even if netip changes its own.
func comparePrefixes(x, y netip.Prefix) int {
	if c := x.Masked().Addr().Compare(y.Masked().Addr()); c != 0 {
		return c
	}
	switch c := x.Bits() - y.Bits(); {
	case c < 0:
		return -1
	case c > 0:
		return 1
	}
	return x.Addr().Compare(y.Addr())
}

// coded adds the ordered form of a coded value. An address gives its length in bits, its bytes, its
// zone as text, then the port. A prefix gives the masked address, the bits, and the address. Any
// other value gives its bytes as text.
func (o *orderer) coded(t *Type, b []byte, last bool) {
	switch t.kind {
	case Addr:
		o.address(addrOf(b), last)
	case AddrPort:
		a := addrPortOf(b)
		o.address(a.Addr(), false)
		o.put(uint64(a.Port()), 2)
	case Prefix:
		p := prefixOf(b)
		o.address(p.Masked().Addr(), false)
		o.put(uint64(p.Bits()+1), 2)
		o.address(p.Addr(), last)
	default:
		o.text(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), last)
	}
}

// address adds the ordered form of an address.
func (o *orderer) address(a netip.Addr, last bool) {
	o.put(uint64(a.BitLen()), 1)
	switch {
	case a.Is4():
		v := a.As4()
		o.put(uint64(binary.BigEndian.Uint32(v[:])), 4)
	case a.Is6():
		v := a.As16()
		o.put(binary.BigEndian.Uint64(v[:]), 8)
		o.put(binary.BigEndian.Uint64(v[8:]), 8)
	}
	zone := a.Zone()
	o.text(unsafe.Pointer(unsafe.StringData(zone)), uintptr(len(zone)), last)
}
