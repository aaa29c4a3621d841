package engine

import "time"

// patience is how long a test waits for what should take a moment, on a machine that has
// much to do.
const patience = time.Minute
