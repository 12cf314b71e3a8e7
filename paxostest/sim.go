package paxostest

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/oracle"
	"github.com/singledecree/paxos/internal/words"
)

// A SimConfig configures a [Sim]. A zero field means its default.
type SimConfig struct {
	Servers  int           // acceptors, with the IDs 1, 2, …: 3, or as many as Regions has
	Learners int           // servers that do not vote, with the IDs after them: none
	Quorum   paxos.Quorum  // default: a majority
	Delay    time.Duration // of a message, one way: 10 ms
	SaveTime time.Duration // of a Save: 1 ms
	Seed     uint64        // of the random waits of the servers and of jitter; the same seed and script give the same run
	// Regions has the region of each server, learners included, and the delays between them. They are in place of Delay.
	Regions Regions
	Limits  paxos.Limits
	// Timing is that of the servers. Here the default of Pull is an hour, so that a script is not about catching up.
	Timing paxos.Timing
	// NoStanding says that no server stands by itself: see [replica.Config].
	NoStanding bool
	// Fail is called when an invariant is broken, or when the script asks for something impossible. The Sim then stops for good. Nil:
	// panic.
	Fail func(error)

	// noLog leaves out the log, for runs of millions of events. The events and the checks are the same without it.
	noLog bool
	fates fates // in place of rules; nil, without a log: all arrive after Delay
	unmet bool  // the servers have not met when it begins: see introduce
}

// Limits of a script. A script that goes beyond them never ends.
const (
	maxSteps = 1_000_000
	maxRun   = 10 * time.Minute
	quiet    = time.Minute
)

// A Sim is a whole cluster in one goroutine: Replicas, the network between them, their disks, and virtual time. The same script gives the
// same run, event for event.
//
//	s := paxostest.NewSim(paxostest.SimConfig{Servers: 3})
//	s.Drop(paxostest.Match{From: 1, To: 3, Kind: paxos.KindAccept})
//	call := s.Propose(1, "lunch", "burger")
//	s.Run()
//	fmt.Print(s.Draw())
//
// After every event the Sim checks the invariants of docs/design.md, such as agreement. I10 is the exception: a script demands it where
// it wants to. The Sim uses only the public interface of the Replica. A Sim is for one goroutine.
type Sim struct {
	config  SimConfig
	members paxos.Members
	now     time.Duration
	queue   queue
	seq     uint64
	steps   int
	limit   int       // of steps in one run
	servers []*server // by ID, from 1: servers[0] is server 1
	network network
	calls   []*Call
	log     []Entry
	oracle  *oracle.Oracle
	err     error
	fates   fates     // in place of rules and cuts; nil: none
	reads   reads     // in place of LoadTime; nil: none
	parcels []*parcel // for use again
	copies  []time.Duration
	dice    dice   // of jitter
	hash    uint64 // of all that left servers

	saveBegan func(*server)       // nil, or called when a Save has begun
	arrived   func(*paxos.Packet) // nil, or called when a Replica is given a packet

	arriving []letter // those of the packet that a Replica was just given, for logEvents to match with its events
	late     bool
}

// NewSim returns a Sim at time 0. Its servers have been formatted and have started.
func NewSim(c SimConfig) *Sim {
	if c.Servers == 0 {
		c.Servers = 3
		if n := len(c.Regions.Of); n > 0 {
			c.Servers = n - c.Learners
		}
	}
	if c.Delay == 0 {
		c.Delay = 10 * time.Millisecond
	}
	if c.SaveTime == 0 {
		c.SaveTime = time.Millisecond
	}
	if c.Timing.Pull == 0 {
		c.Timing.Pull = time.Hour
	}
	if c.Fail == nil {
		c.Fail = func(err error) { panic(err) }
	}
	w := &Sim{config: c, limit: maxSteps, dice: dice(c.Seed), members: paxos.Members{Cluster: "sim", Quorum: c.Quorum}}
	w.fail(c.checkRegions())
	for id := 1; id <= c.Servers; id++ {
		w.members.Acceptors = append(w.members.Acceptors, paxos.ServerID(id))
	}
	for id := c.Servers + 1; id <= c.Servers+c.Learners; id++ {
		w.members.Learners = append(w.members.Learners, paxos.ServerID(id))
	}
	if w.fates = c.fates; w.fates == nil && c.noLog {
		w.fates = onTime{}
	}
	var judged []*oracle.Server
	for id := 1; id <= c.Servers+c.Learners; id++ {
		s, err := newServer(paxos.ServerID(id), w.members)
		if err != nil {
			w.fail(err)
			return w
		}
		w.servers, judged = append(w.servers, s), append(judged, &s.Server)
	}
	w.oracle = oracle.New(w.members, judged)
	if !c.unmet {
		w.introduce()
	}
	// The start takes no time, and is not in the log.
	w.config.Delay, w.config.Regions = 0, Regions{}
	fates := w.fates
	if c.unmet {
		w.fates = loseAll{}
	}
	for _, s := range w.servers {
		w.start(s)
	}
	w.RunFor(0)
	w.fates, w.config.Delay, w.config.Regions = fates, c.Delay, c.Regions
	for _, s := range w.servers {
		s.saveTime = c.SaveTime
	}
	w.log, w.network.letters, w.steps = w.log[:0], nil, 0
	return w
}

// checkRegions returns an error unless there are no regions, or one for each server.
func (c *SimConfig) checkRegions() error {
	if n := len(c.Regions.Of); n > 0 && n != c.Servers+c.Learners {
		return fmt.Errorf("SimConfig.Regions.Of: %d regions for %d servers", n, c.Servers+c.Learners)
	}
	if err := c.Regions.Check(); err != nil {
		return fmt.Errorf("SimConfig.%w", err)
	}
	return nil
}

// Now returns the time since the Sim began.
func (w *Sim) Now() time.Duration { return w.now }

// Err returns why the Sim has stopped: an invariant was broken, or the script asked for something impossible. Nil: it has not stopped.
func (w *Sim) Err() error { return w.err }

// fail stops the Sim.
func (w *Sim) fail(err error) {
	if err == nil || w.err != nil {
		return
	}
	w.err = err
	w.config.Fail(fmt.Errorf("sim: at %s: %w; the log ends with\n%s", words.Milliseconds(w.now), err, w.tail(12)))
}

func (w *Sim) failf(format string, args ...any) { w.fail(fmt.Errorf(format, args...)) }

// Steps returns the number of events so far. These are arrivals of packets, ends of Saves and Loads, due timers, and parts of the script
// run by At.
func (w *Sim) Steps() int { return w.steps }

// at runs f at that time, after everything that was planned for then before.
func (w *Sim) at(t time.Duration, f func()) { w.plan(event{at: t, what: eventScript, do: f}) }

// plan runs e when it is due, after everything that was planned for then before.
func (w *Sim) plan(e event) {
	w.seq++
	e.at, e.seq = max(e.at, w.now), w.seq
	w.queue.push(e)
}

// At runs f, a part of the script, at that time.
func (w *Sim) At(t time.Duration, f func()) { w.at(t, f) }

// Run runs until nothing is due: no message is on its way, no Save runs, and no timer is due within a minute. If that takes over ten
// minutes of virtual time, it is an error.
func (w *Sim) Run() {
	for end := w.now + maxRun; w.err == nil; {
		at, _, ok := w.next()
		switch {
		case !ok || at > w.now+quiet && len(w.queue) == 0:
			return
		case at > end:
			w.failf("still not quiet after %s", maxRun)
			return
		}
		w.step()
	}
}

// Step runs the next event, and reports whether there was one within a minute.
func (w *Sim) Step() bool {
	if at, _, ok := w.next(); !ok || at > w.now+quiet || w.err != nil {
		return false
	}
	return w.step()
}

// RunFor runs for d of virtual time.
func (w *Sim) RunFor(d time.Duration) {
	end := w.now + d
	w.run(end, func() bool { return false })
	w.now = max(w.now, end)
}

// Until runs until cond holds after some event. what says in words what it waits for. If cond never holds, it is an error.
func (w *Sim) Until(what string, cond func() bool) {
	if w.err != nil || cond() {
		return
	}
	hit := false
	w.run(w.now+maxRun, func() bool { hit = cond(); return hit })
	if !hit {
		w.failf("never came to this: %s", what)
	}
}

// run runs until stop returns true after an event, nothing is due, or the next event is after end.
func (w *Sim) run(end time.Duration, stop func() bool) {
	for w.err == nil {
		if at, _, ok := w.next(); !ok || at > end || !w.step() || stop() {
			return
		}
	}
}

// next returns when the next event is due, and the server whose timer it is; nil: the event was planned. A planned event comes before
// timers that are due at the same time. Of those, the timer of the lowest server comes first.
func (w *Sim) next() (at time.Duration, timer *server, ok bool) {
	if len(w.queue) > 0 {
		at, ok = w.queue[0].at, true
	}
	for _, s := range w.servers {
		if s.timed && !s.paused && (!ok || s.due < at) {
			at, timer, ok = s.due, s, true
		}
	}
	return at, timer, ok
}

// step runs the next event; there must be one. It reports whether the Sim goes on.
func (w *Sim) step() bool {
	if w.steps++; w.steps > w.limit {
		w.failf("%d events, and no end", w.limit)
		return false
	}
	at, timer, _ := w.next()
	w.now = max(w.now, at)
	if timer != nil {
		timer.replica.Tick(w.now)
		w.drain(timer)
		return w.err == nil
	}
	e := w.queue.pop()
	switch e.what {
	case eventScript:
		e.do()
	case eventArrival:
		w.arrive(e.parcel)
	case eventSaved:
		w.saved(e.server, e.life, e.n)
	case eventLoaded:
		w.loaded(e.server, e.life, e.name)
	case eventListed:
		w.listed(e.server, e.life, e.page)
	}
	return w.err == nil
}
