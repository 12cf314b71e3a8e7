package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/singledecree/paxos"
)

// While nobody takes them, only so many observations wait: the first ones.
func TestWatcherIsBounded(t *testing.T) {
	var w watcher
	w.init(nil)
	for i := range 2 * maxSaves {
		w.addSave(Save{Records: i})
	}
	for i := range 10 {
		w.addTrips(make([]paxos.RoundTrip, 100))
		w.addTrips([]paxos.RoundTrip{{Duration: time.Duration(i)}})
	}
	assert.Len(t, w.saves, maxSaves)
	assert.Equal(t, maxSaves-1, w.saves[maxSaves-1].Records)
	assert.Len(t, w.trips, maxTrips)
	assert.Equal(t, time.Duration(1), w.trips[201].Duration)
}
