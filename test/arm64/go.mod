module github.com/everheap/everheap/test/arm64

go 1.26
