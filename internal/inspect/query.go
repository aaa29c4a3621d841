package inspect

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/everheap/everheap"
)

// query is the parsed query of a request.
type query struct {
	space  string
	id     everheap.ID // of a collection; 0: none
	at     string      // name of a checkpoint; "": the newest version
	from   int         // first row
	count  int         // of rows
	filter string
	key    []byte // JSON; nil: none
}

// Limits of queries.
const (
	mostRows   = 500
	mostFilter = 4 << 10
	mostKey    = 32 << 10
	mostName   = 1 << 10
	lastRow    = 1 << 40
)

// hexID is an ID in the form that the page uses.
type hexID everheap.ID

// UnmarshalText reads an ID.
func (id *hexID) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil || len(b) != 16 {
		return fmt.Errorf("%.40q is not an ID of 16 hexadecimal digits", b)
	}
	*id = hexID(n)
	return nil
}

// MarshalText writes an ID.
func (id hexID) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(id)), nil }

// parseQuery parses the query of an address. A repeated or unknown name is an error.
func parseQuery(raw string) (*query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, bad("the query cannot be read: %v", err)
	}
	q := &query{count: 100}
	for name, list := range values {
		if len(list) != 1 {
			return nil, bad("%.40q comes %d times", name, len(list))
		}
		if err := q.set(name, list[0]); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// set sets one parameter of the query.
func (q *query) set(name, value string) (err error) {
	most := mostName
	switch name {
	case "filter":
		most = mostFilter
	case "key":
		most = mostKey
	}
	if len(value) > most {
		return bad("%s is longer than %d bytes", name, most)
	}
	switch name {
	case "space":
		q.space = value
	case "at":
		q.at = value
	case "filter":
		q.filter = value
	case "key":
		if !json.Valid([]byte(value)) {
			return bad("the key is not JSON")
		}
		q.key = []byte(value)
	case "id":
		var id hexID
		if err := id.UnmarshalText([]byte(value)); err != nil {
			return bad("%v", err)
		}
		q.id = everheap.ID(id)
	case "from":
		q.from, err = number(name, value, 0, lastRow)
	case "count":
		q.count, err = number(name, value, 1, mostRows)
	default:
		return bad("unknown parameter %.40q", name)
	}
	return err
}

// number reads a number within limits.
func number(name, value string, least, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, bad("%s must be a number from %d to %d", name, least, most)
	}
	return n, nil
}
