package edit

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/spacefile"
)

// The errors of the public interface that come of what is done to objects. Package engine has
// the others.
var (
	ErrNotFound    = spacefile.ErrNotFound // to a program, what is not there is one error
	ErrClosed      = errors.New("closed")
	ErrReadOnly    = errors.New("opened read-only")
	ErrTypeChanged = errors.New("stored with another type")
	ErrUnstorable  = errors.New("cannot be stored")
	ErrDangling    = errors.New("dangling handle")
	ErrNilHandle   = errors.New("the handle is nil: open or create the object first")

	// ErrEnded says that a transaction is used after its end.
	ErrEnded = fmt.Errorf("%w: the transaction has ended; a Tx is valid only inside the function that it was passed to", ErrClosed)
	// ErrShared says that two goroutines have used one writing transaction at once.
	ErrShared = errors.New("the transaction was used by several goroutines at once, and nothing of it was committed: a writing Tx belongs to the goroutine of its function; let others hand it what is to be written")
)

// TypeError says how a stored type and that of the program differ
// (ErrTypeChanged), or why a type cannot be stored (ErrUnstorable).
type TypeError struct {
	Kind  error    // ErrTypeChanged or ErrUnstorable
	Name  string   // of the collection; "" if it is the type alone
	Lines []string // the difference, or the reason, field by field
}

// Error implements error.
func (e *TypeError) Error() string {
	s := e.Kind.Error()
	if e.Name != "" {
		s = fmt.Sprintf("%s is %s", e.Name, s)
	}
	if e.Kind == ErrUnstorable {
		s = ""
	}
	for i, l := range e.Lines {
		switch {
		case s == "":
			s = l
		case i == 0:
			s += ":\n" + l
		default:
			s += "\n" + l
		}
	}
	return s
}

// Unwrap returns the kind.
func (e *TypeError) Unwrap() error { return e.Kind }

// TypesDiffer is the error for stored types of an object of the kind that are not those of a
// program. key is nil if there are no keys. evolve says that the program accepts what Evolve
// does.
func TypesDiffer(kind format.Kind, key, value *layout.Conversion, evolve bool) *TypeError {
	stored, program := value.From.String(), value.To.String()
	if key != nil {
		stored, program = key.From.String()+" to "+stored, key.To.String()+" to "+program
	}
	e := &TypeError{Kind: ErrTypeChanged, Lines: []string{
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

// Abort is the panic by which an operation without an error result ends its
// transaction: who runs that recovers it, and returns the error as one of Op.
type Abort struct {
	Op  string
	Err error
}
