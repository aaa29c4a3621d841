//go:build !linux

// Command forum needs Linux, as spaces do.
package main

func main() { println("the forum needs Linux, as Everheap does") }
