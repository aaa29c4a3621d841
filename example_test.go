package everheap_test

import (
	"context"
	"fmt"
	"log"

	"github.com/everheap/everheap"
)

// User is an ordinary struct: strings, slices, pointers and all.
type User struct {
	Name   string
	Logins int
	Tags   []string
	Friend *User
}

func Example() {
	space, err := everheap.Open("forum") // created by the first run, there for every other
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()

	users, err := everheap.OpenMap[string, User](space, "users")
	if err != nil {
		log.Fatal(err)
	}
	// One change, one transaction: committed when it returns.
	err = users.Upsert(space, "ada", func(u *User, found bool) error {
		u.Name, u.Logins = "Ada Lovelace", u.Logins+1
		u.Tags = []string{"poet", "analyst"}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Several changes, all or none.
	err = space.Update(context.Background(), func(tx *everheap.Tx) error {
		ada, err := users.Get(tx, "ada") // a private copy
		if err != nil {
			return err
		}
		return users.Set(tx, "charles", User{Name: "Charles Babbage", Friend: &ada})
	})
	if err != nil {
		log.Fatal(err)
	}
	// Reading follows a pointer into the space: nothing is decoded or copied.
	err = space.View(func(tx *everheap.Tx) error {
		charles := users.Peek(tx, "charles")
		fmt.Println(charles.Name, "knows", charles.Friend.Name, charles.Friend.Tags)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: Charles Babbage knows Ada Lovelace [poet analyst]
}
