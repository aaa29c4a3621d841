package edit

// release clears a word after all earlier stores. This processor keeps the order of stores, and an
// atomic store would cost as much as taking the word. The file order_amd64.go of package queue says
// why the compiler keeps the order too.
func release(word *uintptr) { *word = 0 }
