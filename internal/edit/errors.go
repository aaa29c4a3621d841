package edit

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// Errors in the use of an editor.
var (
	// ErrEnded says that a transaction is used after its end.
	ErrEnded = fmt.Errorf("%w: the transaction has ended; a Tx is valid only inside the function that it was passed to", failure.ErrClosed)
	// ErrShared says that two goroutines have used one writing transaction at once.
	ErrShared = errors.New("the transaction was used by several goroutines at once, and nothing of it was committed: a writing Tx belongs to the goroutine of its function; let others hand it what is to be written")
)

// TypesDiffer is the error for an object whose stored types are not those of the program. key is
// nil if objects of the kind have no keys. evolve says that the program accepts what Evolve
// converts.
func TypesDiffer(kind format.Kind, key, value *layout.Conversion, evolve bool) *failure.TypeError {
	stored, program := value.From.String(), value.To.String()
	if key != nil {
		stored, program = key.From.String()+" to "+stored, key.To.String()+" to "+program
	}
	e := &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{
		fmt.Sprintf("  stored:  %s of %s", object.Called(kind), stored),
		fmt.Sprintf("  program: %s of %s", object.Called(kind), program)}}
	for _, part := range [2]struct {
		what string
		c    *layout.Conversion
	}{{"keys:", key}, {"values:", value}} {
		if part.c == nil || layout.Same(part.c.From, part.c.To) {
			continue
		}
		if key != nil {
			e.Lines = append(e.Lines, part.what)
		}
		e.Lines = append(e.Lines, part.c.Lines()...)
	}
	switch {
	case !value.Possible(true) || key != nil && !key.Possible(true):
		e.Lines = append(e.Lines, "Evolve does not accept the lines that begin with an exclamation mark; Migrate can convert such values")
	case !evolve:
		e.Lines = append(e.Lines, "open it with the option Evolve to accept that")
	}
	return e
}

// Abort is the panic by which an operation without an error result ends its transaction. The
// function that runs the transaction recovers it and returns Err as the error of the operation Op.
type Abort struct {
	Op  string
	Err error
}
