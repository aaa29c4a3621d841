package everheap_test

import (
	"context"
	"fmt"
	"log"

	"github.com/everheap/everheap"
)

// Author and Book refer to each other: each is one object, however many values refer to it.
type Author struct {
	Name  string
	Books everheap.List[everheap.Ref[Book]]
}

type Book struct {
	Title  string
	Author everheap.Ref[Author]
}

func ExampleRef() {
	space, err := everheap.Open("library")
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()
	authors, err := everheap.OpenMap[string, everheap.Ref[Author]](space, "authors")
	if err != nil {
		log.Fatal(err)
	}
	err = space.Update(context.Background(), func(tx *everheap.Tx) error {
		books, err := everheap.NewList[everheap.Ref[Book]](tx)
		if err != nil {
			return err
		}
		mary, err := everheap.New(tx, Author{Name: "Mary Shelley", Books: books})
		if err != nil {
			return err
		}
		for _, title := range []string{"Frankenstein", "Mathilda", "The Last Man"} {
			book, err := everheap.New(tx, Book{Title: title, Author: mary})
			if err != nil {
				return err
			}
			if err := books.Append(tx, book); err != nil {
				return err
			}
		}
		return authors.Set(tx, "mary", mary)
	})
	if err != nil {
		log.Fatal(err)
	}
	err = space.View(func(tx *everheap.Tx) error {
		mary := authors.Peek(tx, "mary").Peek(tx)
		for i, book := range mary.Books.All(tx) {
			b := book.Peek(tx)
			fmt.Println(i, b.Title, "by", b.Author.Peek(tx).Name)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0 Frankenstein by Mary Shelley
	// 1 Mathilda by Mary Shelley
	// 2 The Last Man by Mary Shelley
}
