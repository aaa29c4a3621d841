package main

import (
	"context"
	"fmt"
	"reflect"

	"github.com/everheap/everheap"
)

// Shape is what fields of drawings hold: Circle and Square in whatever ways are registered.
type Shape interface{ Area() float64 }

// Circle is a Shape, and so is a pointer to it.
type Circle struct {
	Radius float64
	Tags   []string
}

// Area implements Shape.
func (c Circle) Area() float64 { return 3 * c.Radius * c.Radius }

// Square has shapes in it, and leads to others by pointers.
type Square struct {
	Side   float64
	Inside Shape
	Next   *Square
}

// Area implements Shape.
func (s Square) Area() float64 { return s.Side * s.Side }

// Drawing has interfaces wherever they can be.
type Drawing struct {
	Title  string
	One    Shape
	Shapes []Shape
	Named  map[string]Shape
	Any    any
	Circle Circle
}

// register registers the types by value, by pointer, or in both ways, and returns the shapes
// that can be stored then.
func register(way string) (shapes []Shape, err error) {
	if way != "pointer" {
		everheap.Register[Circle]()
		everheap.Register[Square]()
		shapes = append(shapes, Circle{1, []string{"value"}}, Circle{Radius: 2}, Square{Side: 3}, Square{Side: 4, Inside: Circle{Radius: 5}, Next: &Square{Side: 6}})
	}
	if way != "value" {
		everheap.Register[*Circle]()
		everheap.Register[*Square]()
		ring := &Square{Side: 7, Inside: &Circle{8, []string{"pointer"}}}
		ring.Next = &Square{Side: 9, Next: ring}
		shapes = append(shapes, &Circle{Radius: 10}, &Square{Side: 11}, ring)
	}
	if way != "value" && way != "pointer" && way != "both" {
		return nil, fmt.Errorf("shapes are registered by value, pointer or both, and not by %s", way)
	}
	return shapes, nil
}

// drawings returns drawings of all shapes, changed as a Python program changes them by steps.
func drawings(shapes []Shape, step float64) map[string]Drawing {
	all := map[string]Drawing{"empty": {Title: "empty"}}
	for i, s := range shapes {
		other := shapes[(i+1)%len(shapes)]
		all[fmt.Sprint(i)] = Drawing{fmt.Sprint("of ", i), grown(s, step), []Shape{s, nil, other}, map[string]Shape{"a": other}, s, Circle{Radius: float64(i)}}
	}
	return all
}

// grown returns a shape that is larger by a step, and of the same type.
func grown(s Shape, step float64) Shape {
	if step == 0 {
		return s
	}
	switch s := s.(type) {
	case Circle:
		s.Radius += step
		return s
	case *Circle:
		return &Circle{s.Radius + step, s.Tags}
	case Square:
		s.Side += step
		return s
	case *Square:
		copied := &Square{s.Side + step, s.Inside, s.Next}
		if s.Next != nil && s.Next.Next == s { // the ring stays one
			copied.Next = &Square{s.Next.Side, s.Next.Inside, copied}
		}
		return copied
	}
	return s
}

// shapes fills the map drawings, or compares what Python has made of it: a copy, and one in which
// each drawing's One has grown by 1.
func shapes(s *everheap.Space, fill bool, way string) error {
	list, err := register(way)
	if err != nil {
		return err
	}
	m, err := everheap.OpenMap[string, Drawing](s, "drawings")
	if err != nil {
		return err
	}
	grown, err := everheap.OpenMap[string, Drawing](s, "drawings_grown")
	if err != nil {
		return err
	}
	if fill {
		for k, d := range drawings(list, 0) {
			if err := m.Set(s, k, d); err != nil {
				return err
			}
		}
		return nil
	}
	for k, want := range drawings(list, 1) {
		got, err := grown.Get(s, k)
		if err != nil {
			return err
		}
		// In Python nil slices and maps are empty ones.
		if got.Title != want.Title || !sameShape(got.One, want.One) || !sameShape(got.Named["a"], want.Named["a"]) || !same(reflect.ValueOf(got.Shapes), reflect.ValueOf(want.Shapes), map[[2]uintptr]bool{}) ||
			!same(reflect.ValueOf(&got.Any).Elem(), reflect.ValueOf(&want.Any).Elem(), map[[2]uintptr]bool{}) || got.Circle.Radius != want.Circle.Radius {
			return fmt.Errorf("drawing %s is %#v, and not %#v", k, got, want)
		}
	}
	return nil
}

func sameShape(a, b Shape) bool {
	return same(reflect.ValueOf(&a).Elem(), reflect.ValueOf(&b).Elem(), map[[2]uintptr]bool{})
}

// circles doubles the circles that a Python program has stored.
func circles(s *everheap.Space) error {
	m, err := everheap.OpenMap[string, Circle](s, "circles")
	if err != nil {
		return err
	}
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		for k := range m.All(tx) {
			if err := m.Modify(tx, k, func(c *Circle) error { c.Radius *= 2; c.Tags = append(c.Tags, "doubled"); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}
