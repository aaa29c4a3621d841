package model

import (
	"iter"
	"slices"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// Doc is the number of a post: its place in the list of all posts. They grow with time, so the
// documents of a word are in order without being sorted.
type Doc uint32

// Run is a piece of the list of a word's documents. Each element of a List is a
// block of its own, which is much for one number of four bytes: so an element has many.
type Run []Doc

const runLen = 256

// index enters a document under a word.
func (f *Forum) index(tx *everheap.Tx, word string, docs ...Doc) error {
	var list everheap.List[Run]
	if found := f.words.Peek(tx, word); found != nil {
		list = *found
	} else {
		var err error
		if list, err = everheap.NewList[Run](tx); err != nil {
			return err
		}
		if err := f.words.Set(tx, word, list); err != nil {
			return err
		}
	}
	n, err := list.Len(tx)
	if err != nil {
		return err
	}
	if n > 0 {
		if last := *list.Peek(tx, n-1); len(last) < runLen {
			fit := min(runLen-len(last), len(docs))
			if err := list.Set(tx, n-1, slices.Concat(last, docs[:fit])); err != nil {
				return err
			}
			docs = docs[fit:]
		}
	}
	for run := range slices.Chunk(docs, runLen) {
		if err := list.Append(tx, run); err != nil {
			return err
		}
	}
	return nil
}

// Search passes the newest posts that have all the words.
func (f *Forum) Search(words []string, most int, show func(n int, posts iter.Seq[*page.Post]) error) error {
	return outdated(f.space.View(func(tx *everheap.Tx) error {
		docs := f.find(tx, words)
		return show(len(docs), func(yield func(*page.Post) bool) {
			var row page.Post
			for _, d := range docs[:min(most, len(docs))] {
				if f.fill(tx, f.posts.Peek(tx, int(d)), &row) && !yield(&row) {
					return
				}
			}
		})
	}))
}

// find returns the documents that have all the words, newest first. It begins with the word
// that has the fewest, and looks for those in the lists of the others.
func (f *Forum) find(tx *everheap.Tx, words []string) (docs []Doc) {
	lists := make([]postings, 0, len(words))
	for _, w := range words {
		list := f.words.Peek(tx, w)
		if list == nil {
			return nil
		}
		lists = append(lists, newPostings(tx, *list))
	}
	if len(lists) == 0 {
		return nil
	}
	slices.SortFunc(lists, func(a, b postings) int { return a.runs - b.runs })
	for i := lists[0].runs - 1; i >= 0; i-- {
	next:
		for _, d := range slices.Backward(*lists[0].list.Peek(tx, i)) {
			for j := range lists[1:] {
				if !lists[1+j].has(tx, d) {
					continue next
				}
			}
			docs = append(docs, d)
		}
	}
	return docs
}

// postings is a place in the list of a word, which moves from the newest document to the
// oldest.
type postings struct {
	list everheap.List[Run]
	runs int // those before the one in hand, and that one
	run  Run // borrowed
}

func newPostings(tx *everheap.Tx, list everheap.List[Run]) postings {
	n, _ := list.Len(tx)
	return postings{list: list, runs: n}
}

// has reports whether a document has the word. Each call is about an older document than the
// one before.
func (p *postings) has(tx *everheap.Tx, d Doc) bool {
	for p.runs > 0 {
		if p.run == nil {
			p.run = *p.list.Peek(tx, p.runs-1)
		}
		if p.run[0] <= d {
			_, found := slices.BinarySearch(p.run, d)
			return found
		}
		p.runs, p.run = p.runs-1, nil
	}
	return false
}
