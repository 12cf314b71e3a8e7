package paxostest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/singledecree/paxos"
)

// drawCrowd gives one seed of ten small tables and many servers. Each server then has as many calls as fit, in instances of its own.
// Those seeds have random numbers of their own for it, so that all others stay as they were.
func (d *drawing) drawCrowd() {
	if d.Seed%10 != 7 {
		return
	}
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0xc40bd))
	d.Crowded = true
	if servers := []int{3, 5, 5, 7, 9, 9, 9, 13}[d.IntN(8)]; servers > d.Servers {
		d.Servers, d.Quorum = servers, nil
	}
	d.Limits.MaxOpen = 1 + d.IntN(8)
	from, lasts := d.when()/2, d.between(0, 20*d.Delay)
	for id := paxos.ServerID(1); int(id) <= d.Servers+d.Learners; id++ {
		for i := range d.Limits.MaxOpen {
			at := from + d.between(0, lasts+1)
			d.do(Action{At: at, Act: ActPropose, Server: id, Instance: fmt.Sprintf("own/%d/%d", id, i), Value: d.values[d.IntN(len(d.values))]})
			if d.some(4) {
				d.do(Action{At: at + d.between(0, 4*d.Delay), Act: ActCancel, Server: id})
			}
		}
	}
}

// crowd is the last part of a run whose Chaos is Crowded: all is well, and no call waits. Then every server calls in as many instances as
// Limits.MaxOpen allows. No call may be refused, and all must end.
func (r *chaosRun) crowd() {
	if !r.plan.Crowded || r.Err() != nil {
		return
	}
	for _, c := range r.calls {
		if !c.Ended && !r.server(c.Server).Wiped() {
			r.Cancel(c)
		}
	}
	var calls []*Call
	order := dice(r.plan.Seed)
	for _, s := range r.servers {
		if s.Wiped() {
			continue // the others refuse it
		}
		for i := range r.plan.Limits.MaxOpen {
			at := r.now + time.Duration(order.float()*3*float64(r.plan.Delay))
			r.At(at, func() { calls = append(calls, r.Propose(s.ID, fmt.Sprintf("crowd/%d/%d", s.ID, i), "v")) })
		}
	}
	began := r.now
	r.RunFor(3 * r.plan.Delay)
	for r.Err() == nil {
		why := r.unwell()
		for _, c := range calls {
			if c.Err != nil && !errors.Is(c.Err, paxos.ErrForgotten) {
				r.failf("I10 is broken: all was well, and %s", c)
			}
		}
		switch {
		case why == "":
			return
		case r.now > began+4*r.plan.Bound():
			r.failf("I10 is broken: %s after every server has called all it may, %s", r.now-began, why)
		}
		r.RunFor(max(r.plan.Timing.Phase/4, ms))
	}
}
