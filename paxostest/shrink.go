package paxostest

import (
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// Shrink returns a Chaos that fails like c and is as small as possible. It keeps few faults of few servers and few actions. It loses,
// delays or doubles only the packets that matter. If c does not fail, it returns c.
func (c Chaos) Shrink() Chaos {
	if c.Run(false).Err == nil {
		return c
	}
	s := &shrinker{best: c, left: maxShrinkRuns}
	for before := -1; before != s.best.size() && s.left > 0; {
		before = s.best.size()
		s.actions()
		s.kinds()
		s.end()
		s.packets()
	}
	return s.best
}

// maxShrinkRuns bounds how long Shrink takes.
const maxShrinkRuns = 4000

// A shrinker tries smaller and smaller runs that still fail.
type shrinker struct {
	best Chaos
	left int
}

func (c *Chaos) size() int { return len(c.Actions) + len(c.Packets) + int(c.Ends/ms) }

// try makes c the smallest run so far if it fails.
func (s *shrinker) try(c Chaos) bool {
	if s.left--; s.left < 0 || c.Run(false).Err == nil {
		return false
	}
	s.best = c
	return true
}

// actions removes actions.
func (s *shrinker) actions() {
	reduce(len(s.best.Actions), func(from, to int) bool {
		c := s.best
		c.Actions = slices.Delete(slices.Clone(c.Actions), from, to)
		return s.try(c)
	})
}

// reduce calls remove for parts of n things, large parts first. If remove returns true, they are gone.
func reduce(n int, remove func(from, to int) bool) {
	for size := n; size > 0; size /= 2 {
		for from := 0; from < n; {
			to := min(from+size, n)
			if remove(from, to) {
				n -= to - from
			} else {
				from = to
			}
		}
	}
}

// kinds removes whole kinds of faults, and servers.
func (s *shrinker) kinds() {
	for _, change := range []func(*Chaos){
		func(c *Chaos) { c.Loss = 0 },
		func(c *Chaos) { c.Twice = 0 },
		func(c *Chaos) { c.Late = 0 },
		func(c *Chaos) { c.SlowBy = 0 },
		func(c *Chaos) { c.Unmet = false },
		func(c *Chaos) { c.Limits = paxos.Limits{} },
		func(c *Chaos) { c.Learners-- },
		func(c *Chaos) { c.Servers-- },
		func(c *Chaos) { c.Servers, c.Quorum = 3, nil },
		func(c *Chaos) { c.Delay, c.SaveTime = 10*ms, ms },
		func(c *Chaos) { c.Timing.Pull = time.Hour },
		(*Chaos).sooner,
	} {
		c := s.best
		change(&c)
		if c.fits() && (c.size() != s.best.size() || c.String() != s.best.String()) {
			s.try(c)
		}
	}
}

// sooner removes the time before the first action that is not a start.
func (c *Chaos) sooner() {
	if len(c.Actions) == 0 {
		return
	}
	wait := max(c.Actions[0].At-2*c.SaveTime-5*ms, 0)
	c.Actions = slices.Clone(c.Actions)
	for i := range c.Actions {
		c.Actions[i].At -= wait
	}
	c.Ends -= wait
}

// fits reports whether c names only servers that exist.
func (c *Chaos) fits() bool {
	if c.Servers < 1 || c.Learners < 0 || c.Quorum != nil && c.Quorum.Size() != c.Servers {
		return false
	}
	for _, a := range c.Actions {
		if int(max(a.Server, a.Peer)) > c.Servers+c.Learners {
			return false
		}
	}
	return true
}

// end makes the faults end earlier.
func (s *shrinker) end() {
	for range 6 {
		c := s.best
		if c.Ends /= 2; !s.try(c) {
			break
		}
	}
}

// packets names each packet with a fault, and removes the faults that do not matter.
func (s *shrinker) packets() {
	if !s.best.Explicit && !s.try(s.best.explicit()) {
		return
	}
	reduce(len(s.best.Packets), func(from, to int) bool {
		c := s.best
		c.Packets = slices.Delete(slices.Clone(c.Packets), from, to)
		return s.try(c)
	})
}

// explicit returns a Chaos that does the same as c, and names each packet with a fault.
func (c Chaos) explicit() Chaos {
	fates := c.run(false, true).fates
	c.Explicit, c.Packets = true, nil
	for _, p := range fates {
		if len(p.Copies) != 1 || p.Copies[0] != c.Delay {
			c.Packets = append(c.Packets, p)
		}
	}
	return c
}
