package live

import "time"

// SetOfferLapse sets how long an offer stands, until restore is called.
func SetOfferLapse(d time.Duration) (restore func()) {
	before := offerLapse
	offerLapse = d
	return func() { offerLapse = before }
}
