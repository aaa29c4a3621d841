package layout

import (
	"go/format"
	"strings"
	"testing"
	"time"
)

type pair[A, B any] struct {
	First  A
	Second *B
}

type colour uint8

type stamp time.Time

// A struct whose layout takes fields without names.
type roomy struct {
	A int8
	_ [7]byte
	B int8
	_ int32
	C int16
	_ [16]byte
}

type alignedRoom struct {
	_ [0]uint64
	A int8
	Z struct{}
}

type shown struct {
	Name    string `everheap:"was=Title,was=Label"`
	Paint   colour
	At      stamp
	For     time.Duration
	Day     time.Weekday
	Up      *shown
	Pairs   []pair[string, time.Time]
	More    pair[pair[int, colour], [2]shown2]
	Room    roomy
	Aligned alignedRoom
	Inline  struct {
		X, Y float32
		Tags [][]byte `everheap:"was=T"`
	}
	Nothing struct{}
	Kids    testMap[string, shown]
	Log     testList[testRef[shown2]]
	z       complex64 //lint:ignore U1000 fields that are not exported are part of a type, too
}

type shown2 struct{ OK bool }

func TestSource_Golden(t *testing.T) {
	s := NewSource("example.com/everheap")
	first := typeFor[shown](t)
	var other *Type
	{
		type shown struct{ Other [3]bool } // of the same name
		other = typeFor[shown](t)
	}
	uses := []string{s.Type(storedAs(t, first)), s.Type(storedAs(t, other)), s.Type(storedAs(t, first)), // twice the same
		s.Type(typeFor[map1](t)), s.Type(typeFor[time.Time](t)), s.Type(typeFor[*[]string](t)),
		s.Handle(Sorted, typeFor[string](t), typeFor[time.Time](t))}
	text := strings.Join(uses, "\n") + "\n\n" + strings.Join(s.Imports(), "\n") + "\n\n" + strings.Join(s.Declarations(), "\n")
	golden(t, "source.txt", text)
	if _, err := format.Source([]byte("package p\n" + strings.Join(s.Declarations(), "\n"))); err != nil {
		t.Error(err)
	}
	plain := NewSource("x")
	if plain.Type(typeFor[time.Time](t)) != "time.Time" || len(plain.Imports()) != 0 || len(plain.Declarations()) != 0 {
		t.Error("an undeclared type got an import")
	}
}
