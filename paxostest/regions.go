package paxostest

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// Regions says in which region each server is, and how long packets take between regions. The zero value has no regions.
//
//	paxostest.Regions{
//		Of: []string{"us-east", "us-west", "europe"}, // servers 1, 2 and 3
//		RoundTrips: map[[2]string]time.Duration{
//			{"us-east", "us-west"}: 67 * time.Millisecond,
//			{"us-east", "europe"}:  93 * time.Millisecond,
//			{"us-west", "europe"}:  141 * time.Millisecond,
//		},
//		Jitter: 0.05,
//	}
//
// A [Sim] takes it in [SimConfig], and a [Network] in [NetworkConfig]. Neither changes the slice or the map.
type Regions struct {
	// Of has the region of server 1, 2, and so on. Several servers may be in one region.
	Of []string
	// RoundTrips has the round-trip time of each two regions in which servers are, in either order. A packet takes half of it. At most
	// an hour. The default between servers of the same region is 500 us. Regions without a server do not matter.
	RoundTrips map[[2]string]time.Duration
	// Jitter is the most random delay of a packet on top, as a share of its delay, from 0 to 1. So packets overtake each other.
	Jitter float64
}

// inRegion is the default of a round trip between servers of the same region.
const inRegion = 500 * time.Microsecond

// Check returns an error that names the first field out of range, or the first two regions without a round-trip time.
func (r Regions) Check() error {
	if !(r.Jitter >= 0 && r.Jitter <= 1) {
		return fmt.Errorf("Regions.Jitter: %v: want 0 to 1", r.Jitter)
	}
	for i, a := range r.Of {
		for _, b := range r.Of[:i+1] {
			d, there := r.RoundTrips[[2]string{a, b}]
			other, twice := r.RoundTrips[[2]string{b, a}]
			switch {
			case a != b && there && twice && d != other:
				return fmt.Errorf("Regions.RoundTrips: %q and %q are there as %v, and in the other order as %v: want one of them", b, a, other, d)
			case a != b && !there && !twice:
				return fmt.Errorf("Regions.RoundTrips: %q and %q: there is no round-trip time", b, a)
			}
			if d := r.RoundTrip(a, b); d < 0 || d > time.Hour {
				return fmt.Errorf("Regions.RoundTrips: %q and %q: %v: want 0 to 1h", b, a, d)
			}
		}
	}
	return nil
}

// RoundTrip returns the round-trip time of two regions, without jitter. It is 0 if there is none: see [Regions.Check].
func (r Regions) RoundTrip(a, b string) time.Duration {
	if d, ok := r.RoundTrips[[2]string{a, b}]; ok {
		return d
	}
	if d, ok := r.RoundTrips[[2]string{b, a}]; ok || a != b {
		return d
	}
	return inRegion
}

// Servers returns the servers of a region, in order.
func (r Regions) Servers(region string) (ids []paxos.ServerID) {
	for i, name := range r.Of {
		if name == region {
			ids = append(ids, paxos.ServerID(i+1))
		}
	}
	return ids
}

// has reports whether the region of a server is known.
func (r Regions) has(id paxos.ServerID) bool { return id >= 1 && id <= paxos.ServerID(len(r.Of)) }

// delay returns how long a packet takes, with a random part drawn from x. It reports false if the region of one end is not known.
func (r Regions) delay(from, to paxos.ServerID, x *dice) (d time.Duration, ok bool) {
	if !r.has(from) || !r.has(to) {
		return 0, false
	}
	d = r.RoundTrip(r.Of[from-1], r.Of[to-1]) / 2
	if r.Jitter > 0 {
		d += time.Duration(x.float() * r.Jitter * float64(d))
	}
	return d, true
}
