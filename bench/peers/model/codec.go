package model

import (
	"encoding/binary"
	"errors"
)

// ErrShort: the bytes are not a record.
var ErrShort = errors.New("short record")

// The codec, written by hand.
//
// User:   u64 ID, u64 Karma, u64 Created, then length-prefixed strings
//         (uvarint length), tags preceded by a uvarint count.
// All integers are little-endian at fixed offsets so that get-zc can read
// ID, Karma and len(Name) in place.

func AppendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func EncodeUser(b []byte, u *User) []byte {
	b = binary.LittleEndian.AppendUint64(b, u.ID)
	b = binary.LittleEndian.AppendUint64(b, uint64(u.Karma))
	b = binary.LittleEndian.AppendUint64(b, uint64(u.Created))
	b = AppendString(b, u.Name)
	b = AppendString(b, u.Email)
	b = AppendString(b, u.Bio)
	b = binary.AppendUvarint(b, uint64(len(u.Tags)))
	for _, t := range u.Tags {
		b = AppendString(b, t)
	}
	return b
}

// DecodeUser makes two allocations: one string that backs all string fields,
// and the Tags slice (reused when the caller's is large enough would be unfair:
// a get must hand out a struct that the caller may keep).
func DecodeUser(b []byte, u *User) error {
	if len(b) < 27 {
		return ErrShort
	}
	u.ID = binary.LittleEndian.Uint64(b)
	u.Karma = int64(binary.LittleEndian.Uint64(b[8:]))
	u.Created = int64(binary.LittleEndian.Uint64(b[16:]))
	s := string(b[24:])
	p := 0
	next := func() string {
		// lengths here are < 128: one byte; fall back for longer ones
		l := int(s[p])
		p++
		if l >= 0x80 {
			l2, n := binary.Uvarint([]byte(s[p-1:]))
			l = int(l2)
			p += n - 1
		}
		q := s[p : p+l]
		p += l
		return q
	}
	u.Name = next()
	u.Email = next()
	u.Bio = next()
	n := int(s[p])
	p++
	u.Tags = make([]string, n)
	for i := range u.Tags {
		u.Tags[i] = next()
	}
	return nil
}

// PeekUser is the zero-copy read: three fields straight from the stored bytes.
func PeekUser(b []byte) uint64 {
	l := uint64(b[24])
	return binary.LittleEndian.Uint64(b) + binary.LittleEndian.Uint64(b[8:]) + l
}

func EncodeHeader(b []byte, h *PostHeader) []byte {
	b = binary.LittleEndian.AppendUint64(b, h.ID)
	b = binary.LittleEndian.AppendUint64(b, h.Author)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Created))
	return AppendString(b, h.Title)
}

func DecodeHeader(b []byte, h *PostHeader) {
	h.ID = binary.LittleEndian.Uint64(b)
	h.Author = binary.LittleEndian.Uint64(b[8:])
	h.Created = int64(binary.LittleEndian.Uint64(b[16:]))
	l, n := binary.Uvarint(b[24:])
	h.Title = string(b[24+n : 24+n+int(l)])
}

func EncodePart(b []byte, a *Part) []byte {
	for _, v := range [...]int64{a.ID, a.X, a.Y, a.DocID, a.To[0], a.To[1], a.To[2]} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func DecodePart(b []byte, a *Part) {
	_ = b[55]
	a.ID = int64(binary.LittleEndian.Uint64(b))
	a.X = int64(binary.LittleEndian.Uint64(b[8:]))
	a.Y = int64(binary.LittleEndian.Uint64(b[16:]))
	a.DocID = int64(binary.LittleEndian.Uint64(b[24:]))
	a.To[0] = int64(binary.LittleEndian.Uint64(b[32:]))
	a.To[1] = int64(binary.LittleEndian.Uint64(b[40:]))
	a.To[2] = int64(binary.LittleEndian.Uint64(b[48:]))
}
