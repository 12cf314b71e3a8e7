// Package world is a small deterministic world in which Replicas run by a script: one goroutine, virtual time, a network
// and disks that do what the script says. The same script gives the same run, event for event.
//
//	w := world.New(world.Config{Servers: 3})
//	w.Drop(world.Match{From: 1, To: 3, Kind: paxos.KindAccept})
//	call := w.Propose(1, "lunch", "burger")
//	w.Run()
//	fmt.Print(w.Draw())
//
// Whatever the script does, the world checks after every event that agreement and its kin hold: see checker. It knows
// the Replica by its public interface only.
//
// Layers: world.go (time), server.go (one Replica and its disk), network.go (who hears what), log.go (what happened),
// check.go (what must hold), draw.go (the log as a space-time diagram), script.go (the script as text).
package world

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// A Config says how a world is. A zero field means its default.
type Config struct {
	Servers  int           // acceptors, with the IDs 1, 2, …: 3
	Learners int           // servers that do not vote, with the IDs after them: none
	Quorum   paxos.Quorum  // majority
	Delay    time.Duration // of a message, one way: 10 ms
	SaveTime time.Duration // of a Save: 1 ms
	Limits   paxos.Limits
	Timing   paxos.Timing
	// Fail is called when an invariant is broken, or the script asks for what can't be. The world stops then, once and
	// for all. Nil: panic.
	Fail func(error)
}

// Limits of a script: one that goes beyond them never ends.
const (
	maxSteps = 1_000_000
	maxQuiet = time.Minute
)

// A World is servers, the network between them, and the time.
type World struct {
	config  Config
	members paxos.Members
	now     time.Duration
	queue   queue
	seq     uint64
	steps   int
	servers []*server // by ID, from 1: servers[0] is server 1
	network network
	calls   []*Call
	log     []Entry
	check   checker
	err     error

	arriving []flight // those of the packet that a Replica was just given, for logEvents to match with its events
	late     bool
}

// New returns a world whose servers have been formatted and have started, at time 0.
func New(c Config) *World {
	if c.Servers == 0 {
		c.Servers = 3
	}
	if c.Delay == 0 {
		c.Delay = 10 * time.Millisecond
	}
	if c.SaveTime == 0 {
		c.SaveTime = time.Millisecond
	}
	if c.Fail == nil {
		c.Fail = func(err error) { panic(err) }
	}
	w := &World{config: c, members: paxos.Members{Cluster: "world", Quorum: c.Quorum}}
	for id := 1; id <= c.Servers; id++ {
		w.members.Acceptors = append(w.members.Acceptors, paxos.ServerID(id))
	}
	for id := c.Servers + 1; id <= c.Servers+c.Learners; id++ {
		w.members.Learners = append(w.members.Learners, paxos.ServerID(id))
	}
	quorum := c.Quorum
	if quorum == nil {
		quorum = paxos.Majority(c.Servers)
	}
	w.check = newChecker(quorum, c.Servers+c.Learners)
	for id := 1; id <= c.Servers+c.Learners; id++ {
		s, err := newServer(paxos.ServerID(id), w.members)
		if err != nil {
			w.fail(err)
			return w
		}
		w.servers = append(w.servers, s)
	}
	// The first Saves take no time, and are no part of the story.
	for _, s := range w.servers {
		w.start(s)
	}
	w.RunFor(0)
	for _, s := range w.servers {
		s.saveTime = c.SaveTime
	}
	w.log = w.log[:0]
	return w
}

// Now returns the time since the world began.
func (w *World) Now() time.Duration { return w.now }

// Err returns why the world has stopped: an invariant was broken, or the script asked for what can't be. Nil: it goes on.
func (w *World) Err() error { return w.err }

// fail stops the world.
func (w *World) fail(err error) {
	if err == nil || w.err != nil {
		return
	}
	w.err = err
	w.config.Fail(fmt.Errorf("world: at %s: %w; the log ends with\n%s", ms(w.now), err, w.tail(12)))
}

func (w *World) failf(format string, args ...any) { w.fail(fmt.Errorf(format, args...)) }

// at has f happen at that time, after all that was to happen then already.
func (w *World) at(t time.Duration, f func()) {
	w.seq++
	heap.Push(&w.queue, event{max(t, w.now), w.seq, f})
}

// At has f, a part of the script, happen at that time.
func (w *World) At(t time.Duration, f func()) { w.at(t, f) }

// Run runs until nothing is due any more: no message is on its way, no Save runs and no timer is set.
func (w *World) Run() {
	if end := w.now + maxQuiet; !w.run(end, func() bool { return false }) && w.err == nil {
		w.failf("still not quiet after %s", maxQuiet)
	}
}

// Step runs the next event, and reports whether there was one.
func (w *World) Step() bool {
	ran := false
	w.run(w.now+maxQuiet, func() bool { ran = true; return true })
	return ran && w.err == nil
}

// RunFor runs for that long.
func (w *World) RunFor(d time.Duration) {
	end := w.now + d
	w.run(end, func() bool { return false })
	w.now = max(w.now, end)
}

// Until runs until cond holds after some event; what says in words what it waits for. It is an error if cond never does.
func (w *World) Until(what string, cond func() bool) {
	if w.err != nil || cond() {
		return
	}
	hit := false
	w.run(w.now+maxQuiet, func() bool { hit = cond(); return hit })
	if !hit {
		w.failf("never came to this: %s", what)
	}
}

// run runs until stop says so after an event, nothing is due, or the next event is after end. It reports whether it
// stopped before end.
func (w *World) run(end time.Duration, stop func() bool) bool {
	for w.err == nil {
		at, step := w.next()
		if step == nil {
			return true
		}
		if at > end {
			return false
		}
		if w.steps++; w.steps > maxSteps {
			w.failf("%d events, and no end", maxSteps)
			return false
		}
		w.now = max(w.now, at)
		step()
		if stop() {
			return true
		}
	}
	return true
}

// next returns what happens next, and when: what was planned comes before the timers that are due at the same time, and
// those of lower servers come first.
func (w *World) next() (at time.Duration, step func()) {
	if len(w.queue) > 0 {
		at, step = w.queue[0].at, func() { heap.Pop(&w.queue).(event).do() }
	}
	for _, s := range w.servers {
		if s.replica == nil || s.paused {
			continue
		}
		if due, ok := s.replica.Next(); ok && (step == nil || due < at) {
			at, step = due, func() { w.input(s, func(r *paxos.Replica) { r.Tick(w.now) }) }
		}
	}
	return at, step
}

// An event of the queue is planned: a packet arrives, a Save ends, the script goes on.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// A queue is a heap of events by time, and by the order in which they were planned.
type queue []event

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }

func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}
