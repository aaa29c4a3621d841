package main

/*
#include <unistd.h>
*/
import "C"

// forkNow is fork(2), in the middle of Go code.
func forkNow() C.int { return C.int(C.fork()) }
