// Package model has the records that all engines store, the codec of the stores of bytes,
// and the generators that draw records, keys and graphs from seeds. Start reading at User.
package model

// User is the value type of all point workloads (about 150 bytes of payload).
type User struct {
	ID      uint64
	Karma   int64
	Created int64
	Name    string   // 8-16 characters
	Email   string   // about 22 characters
	Bio     string   // about 60 characters
	Tags    []string // 2 tags of about 6 characters
}

// PostHeader is what a page read needs of a post.
type PostHeader struct {
	ID      uint64
	Author  uint64
	Created int64
	Title   string // about 40 characters
}

// Post is a header plus a body that a page read must not have to touch.
type Post struct {
	PostHeader
	Thread uint64
	Body   string // 10,000 characters (1,000 in the preload)
}

// Part is the object of the graph. To has the references.
type Part struct {
	ID, X, Y, DocID int64
	To              [3]int64
}
