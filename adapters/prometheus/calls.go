package prometheus

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/singledecree/paxos/node"
)

// The bounds of the histograms of calls: each is twice the one before.
const (
	callBounds = 16
	firstBound = 250 * time.Microsecond
)

// calls are the histograms of calls. A [prom.HistogramVec] would do the same, but its observation takes three times as long, in the goroutine
// of each caller.
type calls struct {
	desc *prom.Desc
	mu   sync.Mutex // for those that add to all
	all  atomic.Pointer[[]*ended]
}

// An ended is the histogram of calls with one operation and outcome.
type ended struct {
	op      string
	outcome node.Outcome
	since   time.Time
	counts  [callBounds + 1]atomic.Uint64 // by the first bound that is not exceeded; the last: all are
	sum     atomic.Int64                  // in nanoseconds
}

func newCalls(labels prom.Labels) *calls {
	c := &calls{desc: prom.NewDesc("paxos_call_duration_seconds", "Duration of calls, by operation and outcome.", []string{"op", "outcome"}, labels)}
	c.all.Store(&[]*ended{})
	return c
}

// of returns the histogram of such calls. There are as many as pairs of operations and outcomes, at most 80. The pairs that come first are
// asked for most.
func (c *calls) of(op string, outcome node.Outcome) *ended {
	if e := find(*c.all.Load(), op, outcome); e != nil {
		return e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := *c.all.Load()
	e := find(all, op, outcome)
	if e == nil {
		e = &ended{op: op, outcome: outcome, since: time.Now()}
		all = append(slices.Clone(all), e)
		c.all.Store(&all)
	}
	return e
}

func find(all []*ended, op string, outcome node.Outcome) *ended {
	for _, e := range all {
		if e.op == op && e.outcome == outcome {
			return e
		}
	}
	return nil
}

func (e *ended) observe(d time.Duration) {
	e.counts[bucket(d)].Add(1)
	e.sum.Add(int64(d))
}

// bucket returns the number of the first bound that d does not exceed; callBounds: it exceeds all.
func bucket(d time.Duration) int {
	return min(bits.Len64(uint64(max(d, 1)-1)/uint64(firstBound)), callBounds)
}

func (c *calls) Describe(to chan<- *prom.Desc) { to <- c.desc }

// Collect sends each histogram. Calls go on meanwhile, so the sum may be some calls ahead of the counts.
func (c *calls) Collect(to chan<- prom.Metric) {
	for _, e := range *c.all.Load() {
		n, below, bound := uint64(0), make(map[float64]uint64, callBounds), firstBound
		for i := range callBounds {
			n += e.counts[i].Load()
			below[bound.Seconds()] = n
			bound *= 2
		}
		n += e.counts[callBounds].Load()
		sum := time.Duration(e.sum.Load()).Seconds()
		to <- prom.MustNewConstHistogramWithCreatedTimestamp(c.desc, n, sum, below, e.since, e.op, string(e.outcome))
	}
}
