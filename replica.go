package paxos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A ReplicaConfig says which server a Replica is.
type ReplicaConfig struct {
	// State is exactly what Storage.Server returned. The first Output is the Save that raises its Boot and Rounds, and
	// nothing else leaves before that Save is done.
	State ServerState
	// Nonce is a random number that no other start of any server has: it tells two processes on copies of one storage
	// apart. A Node takes it from crypto/rand.
	Nonce   uint64
	Members Members
	// Open lists the instances that the storage holds undecided: see Storage.Undecided. They are finished, as far as this
	// server can, in this order, as there is room for them. The Replica keeps the slice.
	Open   []string
	Limits Limits
	Timing Timing
	Seed   uint64 // of the randomness in waits between attempts; the same inputs give the same outputs
	Trace  bool   // fill Output.Events
}

// A CallID names one call to a Replica. The host chooses it, and never uses one twice.
type CallID uint64

// Done is the end of a call.
type Done struct {
	ID       CallID
	Decision Decision
	OK       bool  // Decision is valid
	Err      error // an *OpError, or nil
}

// Output is what a Replica wants done.
type Output struct {
	// Send holds packets that may leave now, in any order, or be lost. Their Messages are valid until the next Take.
	Send []Packet
	// Save, if not nil, is to be made durable, and Saved called when it is. At most one is out; what comes meanwhile
	// gathers for the next. The Batch is valid until Saved.
	Save *Batch
	// Load names instances to look up with Storage.Load; each is answered by Loaded. They may be looked up beside each other and beside
	// Saves, and answered in any order and at any time. From Load to Loaded an instance is not asked for again, and no Batch holds a record
	// of it: it has nothing in memory to save before, and leaves memory only when all of it is durable. So what a Load finds is never older
	// than what this server has saved.
	Load []string
	// List holds pages of this server's decisions to look up with Storage.Decided; each is answered by Listed, with its ID. They may be
	// looked up beside each other and beside Saves, and answered in any order and at any time.
	List []ListAsk
	// Done holds the calls that ended.
	Done []Done
	// Index is the highest Index whose record is durable: subscribers may read up to it.
	Index uint64
	// Faults holds the proofs met since the last Take that some server broke the protocol.
	Faults []*SafetyError
	// Stop, once not nil, says why this server must stop: its identity was refused. The Replica takes nothing more.
	Stop error
	// Events is what happened since the last Take, in order, if ReplicaConfig.Trace is set.
	Events []Event
}

// A ListAsk asks for the page of decisions that Storage.Decided(After, Max) returns from now on: the page holds at least what was durable
// when the Output was taken. What became durable later may be in it or not.
type ListAsk struct {
	// ID names this question, from 1. A Replica uses none twice. A page answers the question it was read for and no other: one that was
	// read earlier lacks later decisions, though After is the same.
	ID    uint64
	After uint64
	Max   int
}

// A Replica is all instances of one server as one state machine without clock, goroutine, randomness of its own or I/O.
// The same inputs give the same outputs. It is not safe for concurrent use.
//
// Inputs never block and never fail; what comes of them is in the next Output, which Take returns. What depends on a Save
// stays inside until Saved, so no host can send too early. now is a monotonic time from any fixed origin.
//
// A host does, in any order and for ever: hand in what arrives; call Tick when Next is due; call Take until it returns
// false, and carry out each Output. If a Save fails, it drops the Replica and starts a new one on the reopened storage,
// if ever.
type Replica struct {
	id       ServerID
	members  Members
	quorum   Quorum
	position int // of this server among the acceptors; -1: it does not vote
	print    uint64
	nonce    uint64
	limits   Limits
	timing   Timing
	rand     *rand.Rand
	trace    bool
	gathers  bool // no Save begins: the host is about to hand in more
	patient  bool // what only says what was chosen waits for a packet that leaves anyway: see takePackets
	now      time.Duration
	stop     error // why the server must stop; nil: it need not
	stopSaid bool

	peers     []peer // all other servers: acceptors by position, then learners
	strange   strange
	byID      map[ServerID]*peer
	rounds    rounds
	table     table
	backlog   []string // undecided in the storage when this life began, and there was no room for them yet
	timers    timers
	pulls     pulls
	flight    flight
	takeovers int // attempts that run for nobody here
	hints     int // bytes of the hints kept
	quorums   quorumWatch
	saves     saves
	calls     map[CallID]calling
	called    uint64 // calls so far
	indexSaid uint64
	rtt       time.Duration // how long the first phase of an attempt took lately
	mints     uint64        // names minted in this life

	loads    []string
	done     []Done
	faults   []*SafetyError
	broken   []*SafetyError // the last of all: see Status.Broken
	events   []Event
	counters Counters
	refusals uint64 // counts the changes of peer.refused and peer.limits

	unusual    bool // Limits.MaxValue or MaxPacket is not the default
	leastValue int  // the least MaxValue, of all servers as far as they have said
}

// NewReplica returns the Replica of a server that starts now. It fails if the configuration is wrong, with an error that
// names the field, or if the storage's state belongs to another server, cluster or member list than c.Members.
func NewReplica(now time.Duration, c ReplicaConfig) (*Replica, error) {
	c.Limits, c.Timing = c.Limits.withDefaults(), c.Timing.withDefaults()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("paxos: %w", err)
	}
	return newReplica(now, c), nil
}

// newReplica is NewReplica of a configuration that was checked, with its defaults filled in.
func newReplica(now time.Duration, c ReplicaConfig) *Replica {
	r := &Replica{
		id: c.State.ID, members: c.Members.clone(), position: c.Members.position(c.State.ID), nonce: c.Nonce,
		limits: c.Limits, timing: c.Timing, rand: rand.New(rand.NewPCG(c.Seed, uint64(c.State.ID))), trace: c.Trace,
		now: now, indexSaid: c.State.Last, byID: map[ServerID]*peer{}, calls: map[CallID]calling{}, rtt: c.Timing.Phase / 10,
	}
	r.quorum, r.print = r.members.Quorum, r.members.Fingerprint()
	r.leastValue, r.unusual = r.limits.MaxValue, r.limits.takes() != Limits{}.withDefaults().takes()
	r.addPeers()
	r.table.init()
	r.table.recents.room = uint64(r.limits.Cache)
	r.begin(c.State)
	r.backlog = c.Open
	r.openBacklog()
	return r
}

func (c ReplicaConfig) check() error {
	if err := c.Members.check(); err != nil {
		return err
	}
	if err := c.Limits.check(); err != nil {
		return err
	}
	if err := c.Timing.check(); err != nil {
		return err
	}
	if _, err := parsePulled(c.State.Pulled); err != nil {
		return err
	}
	if _, err := parsePeers(c.State.Peers); err != nil {
		return err
	}
	return c.State.check(c.Members)
}

// Tick does what is due: see Next.
func (r *Replica) Tick(now time.Duration) {
	r.input(now)
	if r.stop != nil {
		return
	}
	r.saves.hurry(now)
	r.pullsDue(now)
	r.watchDue(now)
	for {
		switch t := r.timers.due(now); {
		case t == nil:
			return
		case t.evicted != nil:
			r.silent(t.evicted)
		default:
			r.due(t.inst)
			r.settle(t.inst)
		}
	}
}

// Next returns when Tick is due; ok is false when nothing is.
func (r *Replica) Next() (at time.Duration, ok bool) {
	if r.stop != nil {
		return 0, false
	}
	at, ok = r.timers.next()
	if r.pulls.at != 0 && (!ok || r.pulls.at < at) {
		at, ok = r.pulls.at, true
	}
	if w := r.quorums.at; w != 0 && (!ok || w < at) {
		at, ok = w, true
	}
	if lazy, set := r.saves.hurryAt(); set && (!ok || lazy < at) {
		return lazy, true
	}
	return at, ok
}

// input notes the time of an input. A clock that went back is ignored.
func (r *Replica) input(now time.Duration) { r.now = max(r.now, now) }

// Take fills out, reusing its slices, and reports whether there is anything to do. The host calls it after inputs until
// it returns false.
func (r *Replica) Take(out *Output) bool {
	clear(out.Done) // what is not written over would keep its values alive
	clear(out.Events)
	out.Send, out.Load, out.List, out.Done = out.Send[:0], out.Load[:0], out.List[:0], out.Done[:0]
	out.Faults, out.Events = out.Faults[:0], out.Events[:0]
	out.Save, out.Stop = nil, r.stop
	if r.stop == nil {
		if r.flight.freed {
			r.takeOff()
		}
		if r.pulls.more && r.roomToFetch() {
			r.fetchMore()
		}
		if len(r.backlog) > 0 && r.unfinished() <= r.mostUnfinished()/2 {
			r.openBacklog()
		}
		out.Save = r.beginSave()
	}
	out.Index = r.saves.index
	some := out.Save != nil
	if r.saves.booted || r.stop != nil {
		out.Load = append(out.Load, r.loads...)
		out.Done = append(out.Done, r.done...)
		clear(r.loads)
		clear(r.done)
		out.List = append(out.List, r.pulls.lists...)
		r.loads, r.done, r.pulls.lists = r.loads[:0], r.done[:0], r.pulls.lists[:0]
		if r.stop == nil {
			r.takePackets(out)
		}
		some = some || len(out.Load)+len(out.List)+len(out.Done)+len(out.Send) > 0
	}
	if len(r.faults)+len(r.events) > 0 {
		out.Faults, out.Events = append(out.Faults, r.faults...), append(out.Events, r.events...)
		clear(r.events)
		r.faults, r.events = r.faults[:0], r.events[:0]
		some = true
	}
	if r.indexSaid != r.saves.index {
		some, r.indexSaid = true, r.saves.index
	}
	if r.stop != nil && !r.stopSaid {
		some, r.stopSaid = true, true
	}
	return some
}
