package replica

import (
	"math/rand/v2"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
)

// A Replica is all instances of one server as one state machine. It has no clock, no goroutine, no randomness of its own and
// no I/O. The same inputs give the same outputs. It is not safe for concurrent use.
//
// Inputs never block and never fail. Their results are in the next Output, which [Replica.Take] returns. A message that
// depends on a Save stays inside until [Replica.Saved], so no host can send it too early. The parameter now of every input
// is a monotonic time from any fixed origin.
//
// A host does three things, in any order and for ever:
//
//   - It hands in packets, calls, and the answers of its storage.
//   - It calls [Replica.Tick] when [Replica.Next] is due.
//   - It calls [Replica.Take] until Take returns false, and carries out each [Output].
//
// If a Save fails, the host drops the Replica. It may start a new one on the reopened storage.
type Replica struct {
	id           paxos.ServerID
	view         change.View  // the configuration under which it runs
	quorum       paxos.Quorum // of an attempt that begins now
	voters       paxos.Set    // the acceptors that are asked for votes
	position     int          // of this server among the acceptors; -1: it is none
	complete     bool         // this acceptor is complete for its configuration, and that is durable
	nonce        uint64
	limits       paxos.Limits
	timing       paxos.Timing
	rand         *rand.Rand
	tracing      paxos.Tracing
	observing    bool   // Config.RoundTrips
	noted        uint64 // events so far
	holdSaves    bool   // see HoldSaves
	delayNotices bool   // see DelayNotices
	now          time.Duration
	began        time.Duration // when New was called
	stop         error         // why the server must stop; nil: it need not
	stopSaid     bool

	peers         []*peer        // all other servers: acceptors by position, then learners
	guests        []*peer        // servers of other configurations, which are told of this one
	next          string         // the text of the next configuration, which is decided; empty: it is not
	teller        paxos.ServerID // the server that told of the last one that this server was told of
	told          uint64         // the configuration under which it lived then
	imports       change.Imports
	importAt      time.Duration // when to look at it next; 0: never
	strange       strange
	early         early
	byID          map[paxos.ServerID]*peer
	rounds        rounds
	table         table
	backlog       []string // undecided in the storage when this life began; they wait for room
	timers        timers
	pulls         pulls
	caught        bool // see caughtUp
	inflight      inflight
	takeovers     int // attempts that run for no call of this server
	hints         hints
	forgets       forgets
	stands        stands
	quorums       quorumWatch
	saves         saves
	server        paxos.ServerState // as of the latest change
	serverChanged bool              // since the last Save began
	index         uint64            // the highest Index whose record is durable
	indexSaid     uint64
	calls         map[CallID]calling
	called        uint64        // calls so far
	rtt           time.Duration // how long the first phase of an attempt took lately
	mints         uint64        // names minted in this life

	loads    []string
	lists    []ListAsk
	done     []Done
	faults   []*paxos.SafetyError
	broken   []*paxos.SafetyError // the last of all: see Status.Broken
	events   []paxos.Event
	trips    []paxos.RoundTrip
	counters paxos.Counters
	refusals uint64 // counts the changes of peer.refusal and peer.limits
	views    uint64 // counts the changes of view

	unusual    bool // Limits.MaxValue or MaxPacket is not the default
	leastValue int  // the least MaxValue, of all servers as far as they have said
}

// input notes the time of an input. A clock that went back is ignored.
func (r *Replica) input(now time.Duration) { r.now = max(r.now, now) }

// traces reports whether events of that instance are noted. The caller asks before it makes an event.
func (r *Replica) traces(instance string) bool { return r.tracing.On && r.tracing.Has(instance) }

// event notes an event of this server. The caller fills in what is not 0. An Event is large, so it is made where it stays.
func (r *Replica) event(kind paxos.EventKind) *paxos.Event {
	r.events = append(r.events, paxos.Event{})
	e := &r.events[len(r.events)-1]
	r.noted++
	e.Kind, e.Seq, e.At, e.Server, e.Boot = kind, r.noted, r.now, r.id, r.server.Boot
	return e
}

// messageEvent notes what became of m in packet number seq to or from a peer.
func (r *Replica) messageEvent(kind paxos.EventKind, peer paxos.ServerID, boot, seq uint64, m *paxos.Message, err error) {
	if r.traces(m.Instance) {
		e := r.event(kind)
		e.Peer, e.PeerBoot, e.Packet, e.Message, e.Err = peer, boot, seq, *m, err
	}
}

// callEvent notes that a call begins.
func (r *Replica) callEvent(id CallID, op string, m paxos.Message) {
	if r.traces(m.Instance) {
		e := r.event(paxos.EventCall)
		e.Call, e.Op, e.Message = uint64(id), op, m
	}
}

// roundTrip notes that a quorum has answered messages of that kind, which left first at that time.
func (r *Replica) roundTrip(kind paxos.Kind, since time.Duration) {
	if r.observing {
		r.trips = append(r.trips, paxos.RoundTrip{Kind: kind, Duration: r.now - since})
	}
}

// jitter is a random time up to most.
func (r *Replica) jitter(most time.Duration) time.Duration {
	return time.Duration(r.rand.Int64N(int64(most) + 1))
}

// exposed notes that the attempt's own value is about to leave. It marks all calls that offer this value.
func (r *Replica) exposed(inst *instance) {
	inst.attempt.exposed = true
	for i := range inst.calls.all {
		if c := &inst.calls.all[i]; c.op == opPropose && c.value == inst.attempt.Own() {
			c.exposed = true
		}
	}
}

// caughtUp reports whether this server has the decisions that the servers of a quorum had when it first heard of them.
func (r *Replica) caughtUp() bool {
	if r.caught {
		return true
	}
	var have paxos.Set
	if r.position >= 0 {
		have = have.With(r.position)
	}
	for _, p := range r.peers {
		if p.position >= 0 && p.identity.isHeard() && p.pull.isCaughtUp(p.identity.store()) {
			have = have.With(p.position)
		}
	}
	r.caught = r.quorum.Phase1(have) && r.quorum.Phase2(have)
	return r.caught
}

// wantsImport reports whether this server is an acceptor that is not complete.
func (r *Replica) wantsImport() bool {
	return r.voters.Has(r.position) && r.view.Number() > 0 && r.server.Import != paxos.ImportComplete
}

// late returns for how long the storage has not answered a question of that time. It returns 0 if that is less than
// Timing.Phase.
func (r *Replica) late(since time.Duration) time.Duration {
	if d := r.now - since; d >= r.timing.Phase {
		return d
	}
	return 0
}

// maxBroken is how many proofs of a broken protocol Status shows.
const maxBroken = 16

// A calling is the place of a call: its instance, and its seq there.
type calling struct {
	*instance
	seq uint64
}
