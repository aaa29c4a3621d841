package micro

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// The benchmarks of references and lists compare with native pointers and slices, in
// the same run and in turns.

// graphNode is a part of a ring; nativeNode is the same with a pointer.
type graphNode struct {
	Next  everheap.Ref[graphNode]
	Value int64
	Name  string
}

type nativeNode struct {
	Next  *nativeNode
	Value int64
	Name  string
}

// ring makes n nodes that refer to each other in random order, in both worlds.
func ring(b *testing.B, s *everheap.Space, n int) (everheap.Ref[graphNode], *nativeNode) {
	b.Helper()
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	refs, nodes := make([]everheap.Ref[graphNode], n), make([]*nativeNode, n)
	for from := 0; from < n; from += 10_000 {
		spacetest.Update(b, s, func(tx *everheap.Tx) (err error) {
			for i := from; i < min(from+10_000, n) && err == nil; i++ {
				nodes[i] = &nativeNode{Value: int64(i), Name: fmt.Sprint("node ", i)}
				refs[i], err = everheap.New(tx, graphNode{Value: int64(i), Name: nodes[i].Name})
			}
			return err
		})
	}
	for from := 0; from < n; from += 10_000 {
		spacetest.Update(b, s, func(tx *everheap.Tx) error {
			for i := from; i < min(from+10_000, n); i++ {
				at, next := order[i], order[(i+1)%n]
				nodes[at].Next = nodes[next]
				if err := refs[at].Modify(tx, func(v *graphNode) error { v.Next = refs[next]; return nil }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return refs[0], nodes[0]
}

var graphSum int64

// BenchmarkRef_Follow goes from node to node; each step waits for the one before.
func BenchmarkRef_Follow(b *testing.B) {
	for _, n := range []int{1000, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := spacetest.Scratch(b, everheap.WithMaxSize(4<<30), everheap.WithoutCollect())
			ref, node := ring(b, s, n)
			spacetest.View(b, s, func(tx *everheap.Tx) error {
				turnsWith(b, "pointers", 20_000, func(_, n int) {
					at := ref
					for range n {
						p := at.Peek(tx)
						graphSum += p.Value
						at = p.Next
					}
					ref = at
				}, func(_, n int) {
					at := node
					for range n {
						graphSum += at.Value
						at = at.Next
					}
					node = at
				})
				return nil
			})
		})
	}
}

// BenchmarkRef_Scan reads values in a loop over a list of references; no read depends on another.
func BenchmarkRef_Scan(b *testing.B) {
	const n = 100_000
	s := spacetest.Scratch(b, everheap.WithMaxSize(4<<30))
	refs, err := everheap.OpenList[everheap.Ref[graphNode]](s, "refs")
	spacetest.Must(b, err)
	nodes := make([]*nativeNode, n)
	spacetest.Update(b, s, func(tx *everheap.Tx) error {
		for i := range nodes {
			nodes[i] = &nativeNode{Value: int64(i)}
			r, err := everheap.New(tx, graphNode{Value: int64(i)})
			if err == nil {
				err = refs.Append(tx, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	spacetest.View(b, s, func(tx *everheap.Tx) error {
		turnsWith(b, "pointers", n, func(_, n int) {
			for i, r := range refs.All(tx) {
				if i == n {
					break
				}
				graphSum += r.Peek(tx).Value
			}
		}, func(_, n int) {
			for _, p := range nodes[:n] {
				graphSum += p.Value
			}
		})
		return nil
	})
}

// benchList is a list and a slice with the same accounts.
func benchList(b *testing.B, n int) (*everheap.Space, everheap.List[account], []*account) {
	b.Helper()
	s := spacetest.Scratch(b, everheap.WithMaxSize(4<<30))
	l, err := everheap.OpenList[account](s, "l")
	spacetest.Must(b, err)
	var slice []*account
	for from := 0; from < n; from += 1000 {
		batch := make([]account, 1000)
		for i := range batch {
			batch[i] = accountOf(from + i)
			slice = append(slice, &batch[i])
		}
		spacetest.Must(b, l.Append(s, batch...))
	}
	return s, l, slice
}

func BenchmarkList_Peek(b *testing.B) {
	const n = 200_000
	s, l, slice := benchList(b, n)
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	spacetest.View(b, s, func(tx *everheap.Tx) error {
		turnsWith(b, "slice", 20_000, func(from, k int) {
			for i := from; i < from+k; i++ {
				graphSum += l.Peek(tx, order[i%n]).Balance
			}
		}, func(from, k int) {
			for i := from; i < from+k; i++ {
				graphSum += slice[order[(i+n/2)%n]].Balance
			}
		})
		return nil
	})
}

func BenchmarkList_All(b *testing.B) {
	const n = 200_000
	s, l, slice := benchList(b, n)
	spacetest.View(b, s, func(tx *everheap.Tx) error {
		turnsWith(b, "slice", n, func(_, k int) {
			for i, v := range l.All(tx) {
				if i == k {
					break
				}
				graphSum += v.Balance
			}
		}, func(_, k int) {
			for _, v := range slice[:k] {
				graphSum += v.Balance
			}
		})
		return nil
	})
}

// BenchmarkList_Append appends in transactions of a thousand; the slice gets copies of the owned
// parts of the elements, as the list does.
func BenchmarkList_Append(b *testing.B) {
	for _, size := range []int{1, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, l, slice := benchList(b, 1000)
			batch := make([]account, size)
			for i := range batch {
				batch[i] = accountOf(i)
			}
			turnsWith(b, "slice", 5000, func(_, n int) {
				for ; n > 0; n -= size {
					spacetest.Must(b, l.Append(s, batch[:min(n, size)]...))
				}
			}, func(_, n int) {
				for i := range n {
					slice = append(slice, everheap.Clone(&batch[i%size]))
				}
			})
		})
	}
}
