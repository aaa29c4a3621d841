module github.com/everheap/everheap/examples/forum/sqlite

go 1.26.0

require (
	github.com/everheap/everheap v0.0.0
	github.com/mattn/go-sqlite3 v1.14.53
)

require (
	github.com/klauspost/cpuid/v2 v2.2.10 // indirect
	github.com/zeebo/xxh3 v1.1.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/everheap/everheap => ../../..
