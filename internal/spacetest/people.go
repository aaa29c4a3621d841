//go:build unix

package spacetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/google/go-cmp/cmp"
)

// SamePersonV1 compares a person with PersonOf(i).
func SamePersonV1(p *PersonV1, i int) error {
	want := PersonOf(i)
	if p == nil || p.Name != want.Name || p.Age != want.Age || !p.Gone || len(p.Mails) != len(want.Mails) || (p.Boss == nil) != (want.Boss == nil) {
		return fmt.Errorf("person %d is %+v", i, p)
	}
	for j, mail := range p.Mails {
		if mail != want.Mails[j] {
			return fmt.Errorf("mail %d of person %d is %+v", j, i, mail)
		}
	}
	return nil
}

// The types of people, before and after a type migration. They have two names, since they
// are in one program; in two programs they would have the same name.
type (
	PersonV1 struct {
		Name  string
		Age   int32
		Gone  bool
		Mails []MailV1
		Boss  *PersonV1
	}
	MailV1 struct {
		Addr  string
		Count uint8
	}
	PersonV2 struct {
		Joined time.Time
		Age    int64
		Boss   *PersonV2
		Mails  []MailV2
		Title  string `everheap:"was=Name"`
	}
	MailV2 struct {
		Count int
		Addr  string
		Seen  []byte
	}
)

// PersonOf returns the i-th person.
func PersonOf(i int) PersonV1 {
	a := PersonV1{Name: fmt.Sprint("name ", i), Age: int32(i), Gone: true}
	for j := range i % 4 {
		a.Mails = append(a.Mails, MailV1{strings.Repeat("m", j*7), uint8(i + j)})
	}
	if i%3 == 0 {
		a.Boss = &PersonV1{Name: "boss", Age: -1}
		a.Boss.Boss = a.Boss
	}
	return a
}

// Evolved returns a person after the type migration.
func Evolved(a PersonV1) PersonV2 {
	b := PersonV2{Age: int64(a.Age), Title: a.Name}
	for _, m := range a.Mails {
		b.Mails = append(b.Mails, MailV2{Count: int(m.Count), Addr: m.Addr})
	}
	if a.Boss != nil {
		b.Boss = &PersonV2{Age: int64(a.Boss.Age), Title: a.Boss.Name}
		b.Boss.Boss = b.Boss
	}
	return b
}

// FillPeople creates the map "people" with n people.
func FillPeople(t testing.TB, s *everheap.Space, n int) everheap.Map[string, PersonV1] {
	t.Helper()
	m, err := everheap.OpenMap[string, PersonV1](s, "people")
	Must(t, err)
	Update(t, s, func(tx *everheap.Tx) error {
		for i := range n {
			if err := m.Set(tx, fmt.Sprint("key ", i), PersonOf(i)); err != nil {
				return err
			}
		}
		return nil
	})
	return m
}

// VerifyPeople compares the map "people" with n people after the type migration.
func VerifyPeople(t testing.TB, sc everheap.Scope, n int) everheap.Map[string, PersonV2] {
	t.Helper()
	m, err := everheap.OpenMap[string, PersonV2](sc, "people")
	Must(t, err)
	if got, err := m.Len(sc); err != nil || got != n {
		t.Fatalf("there are %d people (%v), want %d", got, err, n)
	}
	for i := range n {
		got, err := m.Get(sc, fmt.Sprint("key ", i))
		Must(t, err)
		if want := Evolved(PersonOf(i)); !cmp.Equal(got, want, cmp.Comparer(SamePerson)) {
			t.Fatalf("person %d is %+v, want %+v", i, got, want)
		}
		if got.Boss != nil && got.Boss.Boss != got.Boss {
			t.Fatalf("person %d: the boss is no longer the person itself", i)
		}
	}
	return m
}

// SamePerson compares people, whose bosses form cycles.
func SamePerson(a, b PersonV2) bool {
	if (a.Boss == nil) != (b.Boss == nil) || a.Boss != nil && (a.Boss.Title != b.Boss.Title || a.Boss.Age != b.Boss.Age) {
		return false
	}
	a.Boss, b.Boss = nil, nil
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}
