package edit

// release clears a word after all that was written before. This processor keeps the
// order of writes, and an atomic write would cost as much as taking the word. Of the compiler
// package queue says why that is enough (order_amd64.go).
func release(word *uintptr) { *word = 0 }
