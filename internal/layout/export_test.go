package layout

import "reflect"

// GoType returns the Go type, or nil if the descriptor was decoded from stored bytes.
func (t *Type) GoType() reflect.Type { return t.rt }
