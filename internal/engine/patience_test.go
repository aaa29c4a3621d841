package engine

import "time"

// patience is how long a test waits for an event that should take a moment, on a busy machine.
const patience = time.Minute
