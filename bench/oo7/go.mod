module github.com/everheap/everheap/bench/oo7

go 1.26.0

replace github.com/everheap/everheap => ../..

require (
	github.com/everheap/everheap v0.0.0
	go.etcd.io/bbolt v1.5.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/klauspost/cpuid/v2 v2.2.10 // indirect
	github.com/zeebo/xxh3 v1.1.0 // indirect
)
