package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
)

// A nemesis brings faults on a cluster. Its seed decides the kind, the place and the length of each fault. Their timing against the work of
// the servers is left to the machine.
type nemesis struct {
	*rand.Rand
	*apart
	faults []string // the kinds to draw from
	deck   []string // those that are left
	undo   []later
	done   map[string]int // how often it did what
	rounds int            // how often it went through all that it can do
	enough atomic.Bool    // it went through all of it, and did each thing as often as atLeast asks
}

// atLeast is how often a nemesis has done what before it has done enough: a pause of a server that is down, say, does nothing.
var atLeast = map[string]int{"kills": 3, "restarts": 3, "pauses": 3, "links cut": 2, "links slowed": 2, "links reset": 2}

// A later is what ends a fault, and when.
type later struct {
	at time.Time
	do func()
}

// allFaults are what a nemesis draws from, each as often as it stands here.
var allFaults = []string{"kill", "kill", "kill", "kill some", "kill all", "pause", "pause", "pause", "pause some", "cut", "cut", "isolate",
	"split", "slow", "slow", "reset", "reset", "calm", "calm", "calm"}

func newNemesis(a *apart, seed uint64, faults []string) *nemesis {
	return &nemesis{Rand: rand.New(rand.NewPCG(seed, 5)), apart: a, faults: faults, done: map[string]int{}}
}

// run goes on until ctx ends, then heals everything.
func (n *nemesis) run(ctx context.Context) {
	for ctx.Err() == nil {
		n.wait(ctx, n.some(5, 150))
		n.heal(time.Now())
		if len(n.undo) < 3 && ctx.Err() == nil {
			n.strike(ctx)
			n.enough.Store(n.rounds > 0 && n.didAll())
		}
	}
	n.heal(endOfTime)
	for _, l := range n.links {
		l.set(false, 0)
	}
}

func (n *nemesis) didAll() bool {
	for what, least := range atLeast {
		if n.done[what] < least {
			return false
		}
	}
	return true
}

var endOfTime = time.Unix(1<<40, 0)

// wait waits, or until ctx ends.
func (n *nemesis) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// some returns a random time of at least low and less than high milliseconds.
func (n *nemesis) some(low, high int) time.Duration {
	return time.Duration(low+n.IntN(high-low)) * time.Millisecond
}

// heal ends the faults that are due, in the order in which they began.
func (n *nemesis) heal(now time.Time) {
	var still []later
	for _, l := range n.undo {
		if l.at.After(now) {
			still = append(still, l)
		} else {
			l.do()
		}
	}
	n.undo = still
}

func (n *nemesis) later(after time.Duration, do func()) {
	n.undo = append(n.undo, later{time.Now().Add(after), do})
}

// draw returns the next fault from a deck that is shuffled, so that each comes.
func (n *nemesis) draw() string {
	if len(n.deck) == 0 {
		n.deck = slices.Clone(n.faults)
		n.Shuffle(len(n.deck), func(i, j int) { n.deck[i], n.deck[j] = n.deck[j], n.deck[i] })
	}
	fault := n.deck[0]
	if n.deck = n.deck[1:]; len(n.deck) == 0 {
		n.rounds++
	}
	return fault
}

func (n *nemesis) strike(ctx context.Context) {
	servers := n.Perm(len(n.children))
	some := servers[:2+n.IntN(len(servers)-2)]
	switch fault := n.draw(); fault {
	case "kill":
		n.kill(servers[:1])
	case "kill some":
		n.kill(some)
	case "kill all":
		n.kill(servers)
	case "pause":
		n.pause(servers[:1])
	case "pause some":
		n.pause(some)
	case "cut":
		n.change(true, 0, [2]int{servers[0], servers[1]})
	case "isolate":
		n.change(true, 0, between(servers[:1], servers[1:])...)
	case "split":
		n.change(true, 0, between(servers[:2], servers[2:])...)
	case "slow":
		n.change(false, n.some(5, 60), between(servers[:1], servers[1:2+n.IntN(len(servers)-1)])...)
	case "reset":
		for _, l := range between(servers[:1], servers[1:2+n.IntN(len(servers)-1)]) {
			n.links[l].reset()
			n.done["links reset"]++
		}
	case "calm":
		n.heal(endOfTime)
		n.wait(ctx, n.some(200, 1000))
	}
}

// between lists the links between the servers of both groups, both ways.
func between(some, others []int) (links [][2]int) {
	for _, i := range some {
		for _, j := range others {
			links = append(links, [2]int{i, j}, [2]int{j, i})
		}
	}
	return links
}

// kill kills servers, paused ones too, and starts them again later. Those that are down stay so.
func (n *nemesis) kill(servers []int) {
	var killed []int
	errs := make([]error, len(n.children))
	var kills sync.WaitGroup
	for _, i := range servers {
		kills.Go(func() { errs[i] = n.children[i].kill() }) // all at a time
	}
	kills.Wait()
	for _, i := range servers {
		if errs[i] == nil {
			killed = append(killed, i)
			n.done["kills"]++
		}
	}
	n.later(n.some(1, 400), func() {
		var starts sync.WaitGroup
		for _, i := range killed {
			starts.Go(func() { require.NoError(n.t, n.children[i].start()) })
			n.done["restarts"]++
		}
		starts.Wait()
	})
}

// pause stops servers, and has them go on later, unless they are killed before.
func (n *nemesis) pause(servers []int) {
	var paused []*child
	for _, i := range servers {
		if n.children[i].pause() == nil {
			paused = append(paused, n.children[i])
			n.done["pauses"]++
		}
	}
	n.later(n.some(10, 700), func() {
		for _, c := range paused {
			c.resume()
		}
	})
}

// change cuts links or slows them, and makes them good again later.
func (n *nemesis) change(cut bool, delay time.Duration, links ...[2]int) {
	what := "links slowed"
	if cut {
		what = "links cut"
	}
	for _, l := range links {
		n.links[l].set(cut, delay)
		n.done[what]++
	}
	n.later(n.some(20, 700), func() {
		for _, l := range links {
			n.links[l].set(false, 0)
		}
	})
}

// String says what it did.
func (n *nemesis) String() string {
	var parts []string
	for _, what := range []string{"kills", "restarts", "pauses", "links cut", "links slowed", "links reset"} {
		parts = append(parts, fmt.Sprintf("%d %s", n.done[what], what))
	}
	return strings.Join(parts, ", ")
}
