package damage

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

// damageText is the beginning of all strings in the lists of the specimen.
const damageText = "in a list: "

// addToLists adds to the lists of the specimen: one of strings, and one of references
// to strings.
func addToLists(s *everheap.Space, v int) error {
	list, refs, err := damageLists(s)
	if err != nil {
		return err
	}
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 150 {
			text := fmt.Sprint(damageText, v, strings.Repeat("-", i%50))
			if err := list.Append(tx, text); err != nil {
				return err
			}
			r, err := everheap.New(tx, text)
			if err == nil {
				err = refs.Append(tx, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// damageLists opens the lists of the specimen.
func damageLists(s *everheap.Space) (list everheap.List[string], refs everheap.List[everheap.Ref[string]], err error) {
	if list, err = everheap.OpenList[string](s, "list"); err == nil {
		refs, err = everheap.OpenList[everheap.Ref[string]](s, "refs")
	}
	return list, refs, err
}

// useDamagedLists calls all operations on the lists of a damaged space.
func useDamagedLists(t *testing.T, s *everheap.Space, verify bool) {
	list, refs, err := damageLists(s)
	if err != nil {
		return
	}
	answer := func(what string, v string) {
		if verify && !strings.HasPrefix(v, damageText) {
			t.Errorf("%s: an answer of no version: %.60q", what, v)
		}
	}
	for i := range 500 {
		if v, err := list.Get(s, i); err == nil {
			answer("get", v)
		}
		if r, err := refs.Get(s, i); err == nil {
			if v, err := r.Get(s); err == nil {
				answer("get of a reference", v)
			}
		}
	}
	_ = s.View(func(tx *everheap.Tx) error {
		n := 0
		for range list.All(tx) {
			if n++; n > 10_000 { // a damaged length
				break
			}
		}
		for i, r := range refs.Backward(tx) {
			if verify && i < 500 {
				answer("peek", strings.Clone(*r.Peek(tx)))
			}
			if n--; n < -10_000 {
				break
			}
		}
		return nil
	})
	for i := range 60 {
		_ = list.Append(s, damageText+"more", damageText)
		_ = list.Set(s, i*3, damageText+"new")
		if v, err := list.Pop(s); err == nil {
			answer("pop", v)
		}
		if r, err := refs.Get(s, i*5); err == nil {
			_ = r.Set(s, damageText+"set")
		}
		if n, err := list.Len(s); err == nil && i%10 == 9 {
			_ = list.Truncate(s, n-20)
		}
	}
	_ = list.Truncate(s, 0)
}
