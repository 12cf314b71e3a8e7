package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// Bounds of the observations that wait, and the time for which they gather. A goroutine that woke for each, and an Observer that was told of
// each round trip of a busy server, would cost more than the protocol can spare.
const (
	maxTrips     = 256
	maxSaves     = 4096
	observeEvery = 100 * time.Millisecond
)

// A watcher calls the user's Observer. Saves and round trips wait for a goroutine of its own.
type watcher struct {
	to    Observer // nil: there is none
	wake  chan struct{}
	over  chan struct{} // closed when no more observations come
	ended chan struct{} // closed when Save and RoundTrip will not be called again
	left  atomic.Bool   // the Observer gets no more
	full  atomic.Bool   // no more round trips find room

	mu    sync.Mutex
	trips []paxos.RoundTrip
	saves []Save
}

func (w *watcher) init(to Observer) {
	w.to = to
	w.wake, w.over, w.ended = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

// run starts the goroutine that calls Save and RoundTrip.
func (w *watcher) run() {
	if w.to == nil {
		close(w.ended)
	} else {
		go w.loop()
	}
}

func (w *watcher) loop() {
	defer close(w.ended)
	timer := time.NewTimer(observeEvery)
	defer timer.Stop()
	var trips []paxos.RoundTrip
	var saves []Save
	for over := false; !over; {
		select {
		case <-w.wake:
			timer.Reset(observeEvery)
			select {
			case <-timer.C:
			case <-w.over:
				over = true
			}
		case <-w.over:
			over = true
		}
		w.mu.Lock()
		w.trips, trips = trips[:0], w.trips
		w.saves, saves = saves[:0], w.saves
		w.full.Store(false)
		w.mu.Unlock()
		for i := 0; i < len(trips) && !w.left.Load(); i++ {
			w.to.RoundTrip(trips[i])
		}
		for i := 0; i < len(saves) && !w.left.Load(); i++ {
			w.to.Save(saves[i])
		}
		clear(saves)
	}
}

func (w *watcher) addTrips(all []paxos.RoundTrip) {
	if w.full.Load() {
		return
	}
	w.mu.Lock()
	w.trips = append(w.trips, all[:min(maxTrips-len(w.trips), len(all))]...)
	w.full.Store(len(w.trips) == maxTrips)
	w.mu.Unlock()
	signal(w.wake)
}

func (w *watcher) addSave(s Save) {
	w.mu.Lock()
	if len(w.saves) < maxSaves {
		w.saves = append(w.saves, s)
	}
	w.mu.Unlock()
	signal(w.wake)
}

func (w *watcher) close() { close(w.over) }

// newSave measures a batch that was saved.
func newSave(b *paxos.Batch, d time.Duration, err error) Save {
	s := Save{Duration: d, Records: len(b.Records), Err: err}
	for i := range b.Records {
		s.Bytes += len(b.Records[i].Instance) + len(b.Records[i].Acceptor.Value)
	}
	return s
}
