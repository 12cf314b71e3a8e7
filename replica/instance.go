package replica

import (
	"strconv"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
	"github.com/singledecree/paxos/internal/tables"
)

// An instance is a server's memory of an instance that is not decided, or has a decision that is not saved yet. The fields
// that are read most often stand first, together. For other instances see memo.
type instance struct {
	name     string
	acceptor durable.Acceptor   // the acceptor; of a decided instance, the decision
	stopped  *paxos.SafetyError // proof that the protocol was broken here: this server says and believes nothing more

	chosen     bool // decided: acceptor.Value was chosen, in acceptor.Accepted as far as this server knows
	gathered   bool // in saves.gather
	saving     bool // in saves.running
	loading    bool // the storage has been asked for it; messages wait in arrivals
	wantsRound bool // in rounds.waiting
	wantsRoom  bool // in inflight.line
	orphaned   bool // no value to finish it with is known, and the others were asked: no new takeover until the next ballot
	overdue    bool // its silence ended while it was loading, or no round was usable: it is taken over after that
	called     bool // a call was made in it since it was last at rest
	isRange    bool // it is no instance, but the record of a range of forgotten names: see forgets
	doomed     bool // it is forgotten as soon as it is loaded, as another server has forgotten it
	void       bool // it is forgotten with a range: no record of its own is saved
	room       room // in which it is counted

	timer    timer                 // when the first alarm is due
	alarms   [alarms]time.Duration // when each is; 0: it is not set
	unsaved  int                   // bytes that saves.unsaved counts for it
	fetching paxos.Set             // acceptors whose pulled names wait for its decision
	calls    callers
	list     *list // table.evictable or table.watched, from which it may leave memory, or inflight.line; nil: none
	index    uint64
	seen     uint64 // the highest round seen here
	attempt  attempt

	learnedFrom source    // the peer that told of the decision
	listedBy    paxos.Set // acceptors whose pages have listed it, since it had no Index
	pendingNotices
	prev, next *instance
	arrivals   []arrival
	askers     []asker // that have forwarded a value, and wait

	hint        hint
	age         age     // since it came into memory
	ballots     int     // how many new ones were promised, in this life
	askForValue *peer   // said Chosen, and is to be asked for the value; nil: none
	asking      *asking // nil: as an empty one; few instances ever ask
}

// asked reports whether a question is out.
func (inst *instance) asked() bool { return inst.asking != nil && inst.asking.on }

// question returns inst.asking, and makes it if there is none.
func (inst *instance) question() *asking {
	if inst.asking == nil {
		inst.asking = &asking{}
	}
	return inst.asking
}

// forgetQuestion empties inst.asking.
func (inst *instance) forgetQuestion() {
	if inst.asking != nil {
		*inst.asking = asking{}
	}
}

// saw notes that ballot b exists in this instance.
func (inst *instance) saw(b paxos.Ballot) { inst.seen = max(inst.seen, b.Round) }

// forgotten reports whether inst is forgotten, or the record of forgotten names. It is chosen then, but has no decision.
func (inst *instance) forgotten() bool { return inst.acceptor.Promised.IsForgotten() }

// decision returns the decision; inst.chosen must be true, and forgotten false.
func (inst *instance) decision() paxos.Decision {
	return paxos.Decision{Instance: inst.name, Value: inst.acceptor.Value, Ballot: inst.acceptor.Accepted}
}

// unsettled reports whether inst waits for the disk. It then goes on by itself when the disk does.
func (inst *instance) unsettled() bool {
	return inst.loading || inst.gathered || inst.saving || inst.acceptor.Stage != durable.Saved || inst.wantsRound
}

// busy reports whether inst has to stay in memory, because something of it would be lost, or is expected back. Timers, and
// attempts or questions that no call waits for, do not keep it there: they can be given up and done later.
func (inst *instance) busy() bool {
	return inst.unsettled() || inst.wantsRoom || inst.fetching != 0 || len(inst.calls.all) > 0 || inst.stopped != nil ||
		inst.attempt.purpose == forTakeover || inst.attempt.purpose == forForward
}

// wanted reports whether anybody needs the attempt of inst.
func (inst *instance) wanted() bool {
	return inst.attempt.purpose == forTakeover || inst.calls.proposes() != nil || inst.attempt.purpose == forRead && inst.calls.reads()
}

// wantsAnswer reports whether a call needs a question to be asked.
//
//   - A Wait is served by any attempt.
//   - A Read is served by an attempt that a Read began. Beside any other attempt, which may take long, it needs an answer of
//     its own.
//   - A Ready always needs one.
func (inst *instance) wantsAnswer() bool {
	l := &inst.calls
	return l.want(opWait) && inst.attempt.state == attemptNone || l.want(opReady) ||
		l.want(opRead) && (inst.attempt.state == attemptNone || inst.attempt.purpose != forRead)
}

// An asker is an acceptor that has forwarded a value. An answer to it names that ballot.
type asker struct {
	peer   *peer
	ballot paxos.Ballot
}

// An arrival is a message that came before its instance was loaded.
type arrival struct {
	source // the sender, and the start of it that sent m
	m      paxos.Message
}

// maxArrivals bounds the messages that wait for one instance to be loaded. Messages beyond it are lost, as they may be on
// any network.
const maxArrivals = 64

// Room. An instance in memory is in one of these rooms, or in none. No room can be filled by instances of another. Otherwise
// servers could wait for each other for ever: the calls of each, in other instances, would take the room for those of the
// others.
//
//	calls     calls wait in it                                       Limits.MaxOpen; beyond, calls get ErrBusy
//	own       its calls have ended, and the disk has not all of it   MaxOpen or minOwn; beyond, calls get ErrBusy
//	work      others ask about it, and the disk is at work           MaxOpen or minWork; beyond, messages are dropped
//	fetching  its decision was asked for                             see fetch
//	none      it is being taken over                                 see mostTakeovers
//	none      it waits for a silence to end, or for nothing          the rest of 2 x MaxOpen in all
//
// Instances leave the rooms own and work as the disk goes on, whatever other servers do. An acceptor needs no more room than
// that to answer. So with a quorum of acceptors that go on, every call ends, however many servers there are and however
// small MaxOpen is.
//
// Instances that wait for a silence leave memory when it holds more than 2 x MaxOpen: see evicted.
type room uint8

const (
	roomNone room = iota
	roomCalls
	roomOwn
	roomWork
	roomFetching
	rooms
)

// roomNow returns the room that inst is in.
func (inst *instance) roomNow() room {
	switch {
	case inst.name == readyName: // there is one
		return roomNone
	case len(inst.calls.all) > 0:
		return roomCalls
	case inst.fetching != 0:
		return roomFetching
	case !inst.unsettled():
		return roomNone
	case inst.called:
		return roomOwn
	}
	return roomWork
}

// A list holds instances; the one that came first is at the front. An instance is in one list at most.
type list struct {
	first, last *instance
	len         int
}

func (l *list) push(inst *instance) {
	inst.list, inst.prev, inst.next = l, l.last, nil
	if l.last != nil {
		l.last.next = inst
	} else {
		l.first = inst
	}
	l.last = inst
	l.len++
}

func (l *list) remove(inst *instance) {
	if inst.prev != nil {
		inst.prev.next = inst.next
	} else {
		l.first = inst.next
	}
	if inst.next != nil {
		inst.next.prev = inst.prev
	} else {
		l.last = inst.prev
	}
	inst.list, inst.prev, inst.next = nil, nil, nil
	l.len--
}

// An age is the place of an open instance among the others, in the order in which they began. It belongs to an instance in memory, or to
// one that has left memory. So a list of the oldest ones costs no look at all of them.
type age struct {
	since      time.Duration
	prev, next *age
	inst       *instance
	evicted    *evicted // inst is nil then
}

// ages hold the open instances, the oldest first. They are a ring, of which ends is no instance.
type ages struct {
	ends age
	len  int
}

func (l *ages) init() { l.ends.prev, l.ends.next = &l.ends, &l.ends }

// push adds a as the youngest.
func (l *ages) push(a *age) {
	a.prev, a.next = l.ends.prev, &l.ends
	a.prev.next, a.next.prev = a, a
	l.len++
}

func (l *ages) remove(a *age) {
	a.prev.next, a.next.prev = a.next, a.prev
	a.prev, a.next = nil, nil
	l.len--
}

// swap gives the place of a to b, which has none.
func (l *ages) swap(a, b *age) {
	b.since, b.prev, b.next = a.since, a.prev, a.next
	b.prev.next, b.next.prev = b, b
	a.prev, a.next = nil, nil
}

// An alarm is a reason to come back to an instance at some time.
type alarm uint8

const (
	alarmAttempt alarm = iota // the attempt goes on
	alarmAsk                  // the question is asked again; or the instance is finished, if the answers leave it open
	alarmWatch                // nobody has finished the instance: see takeOver
	alarms
)

// A timer says when something is due. That is the first alarm of an instance in memory, or the end of the silence of one
// that has left it. It knows its place in the heap, so it can be moved there when it is set anew.
type timer struct {
	place   int // among the timers, from 1; 0: it is not set
	at      time.Duration
	inst    *instance
	evicted *evicted // inst is nil then
}

// An evicted is the rest of an instance that left memory for want of room, and that this server has to see finished. It
// keeps the silence, and the facts that are not stored. The instance comes back when somebody asks about it, or when the
// silence ends.
type evicted struct {
	timer
	name     string
	hint     hint
	promised paxos.Ballot // for Status
	age      age
	ballots  int
	voted    bool // its acceptor has voted
}

// An attemptState says how far an instance is in getting its value chosen.
type attemptState uint8

const (
	attemptNone      attemptState = iota
	attemptRunning                // a ballot is out
	attemptBackoff                // the last ballot met a higher one; the next begins when the timer is due
	attemptForwarded              // the value was forwarded to the server that stands: see forward
)

// A purpose says why an attempt runs.
type purpose uint8

const (
	forCalls    purpose = iota // a call offers its value
	forTakeover                // no call of this server: it finishes the work of another server
	forRead                    // a Read met votes that decide nothing yet: it finishes the instance
	forForward                 // no call of this server: another server has forwarded the value
)

// An attempt is the one Proposer that this server has in an instance, and the data to try again. During a backoff the
// Proposer is the one that was given up. It takes no more answers, and says how far it came.
type attempt struct {
	paxos.Proposer
	state       attemptState
	purpose     purpose
	exposed     bool          // the own value may have left, as a hint or in an Accept
	direct      bool          // it began with the Accept
	to          *peer         // the own value was forwarded to it once; nil: it was not
	acceptWaits bool          // the Accept has not left: it waits for the own vote, see beginOwned
	began       time.Duration // when the ballot began
	asked       time.Duration // when the Accept left first
	inflight    int           // bytes that Replica.inflight counts for it
	resends     int           // resends of the phase that runs
	tries       int           // ballots that met a higher one, one after the other
}

func (a *attempt) running() bool { return a.state == attemptRunning }

// promised returns the acceptors that have promised to the ballot that runs.
func (a *attempt) promised() paxos.Set {
	if !a.running() {
		return 0
	}
	return a.Answered() &^ a.Refused()
}

func (a *attempt) phase() string {
	if a.Asking() {
		return "accept"
	}
	return "prepare"
}

// outlived reports whether an attempt in round 0 has had its time. There are two cases:
//
//   - The own disk has not saved the vote, and the votes of the others may be enough.
//   - The acceptors did not answer twice, and may be of a version that knows of no owners.
//
// A ballot with a phase 1 helps in both. For the same reason, only the first attempt is in round 0.
func (a *attempt) outlived() bool {
	return a.running() && a.Ballot().Round == 0 && (a.acceptWaits || a.resends > 0)
}

// An asking is a question to all acceptors about one instance: what have you promised and accepted? Its ballot is fresh and
// is never prepared, so an answer belongs to exactly one question.
//
// Votes are for ever, so the learner counts them whatever question they answer. Two facts are asked anew each time: which
// acceptors answer, and which had accepted nothing.
type asking struct {
	quorum   paxos.Quorum // as of when it was asked
	on       bool
	closing  bool // its answers leave the decision open: the acceptors that have not answered have a little time left
	ballot   paxos.Ballot
	at       time.Duration // when it was asked
	answered paxos.Set
	none     paxos.Set // those of them that had accepted nothing
	learner  paxos.Learner
	earlier  earlierVote
	times    int // how often it was asked
}

// An earlierVote is the highest vote in the answers that counts for no decision: it was cast in an earlier configuration, or taken over
// from one. Its value may have to be proposed.
type earlierVote struct {
	ballot paxos.Ballot
	value  paxos.Value
}

// pendingNotices names the acceptors that hear of a decision only when they answer an earlier message.
type pendingNotices struct {
	ownBallot  paxos.Ballot // the own ballot that ran when another told of the decision; an acceptor that promises to it is told. See decidedBy
	lateVoters paxos.Set    // acceptors whose votes are on their way. See chosen
}

// due reports whether the acceptor at that position, which answers with m, is to hear of the decision now.
func (u *pendingNotices) due(position int, m *paxos.Message) bool {
	switch {
	case m.Kind == paxos.KindPromise:
		return m.Ballot == u.ownBallot
	case m.Kind == paxos.KindAccepted && u.lateVoters.Has(position):
		u.lateVoters &^= paxos.Set(0).With(position)
		return true
	}
	return false
}

// A reply waits for a Save. Its content was fixed at its Step. from is the instance that it is about.
type reply struct {
	from *instance
	to   *peer // nil: this server's own proposer
	m    paxos.Message
}

// A scan is a page of undecided instances for a peer, while the storage lists it.
type scan struct {
	ask  uint64 // the ListAsk for it; 0: none is out
	seq  uint64 // the number of the page, as the peer counts
	boot uint64 // of the process that asked
}

// A peer is the memory that this server has of another one. Only its Store is stored. A fault that shows in the rest alone,
// and that no server remembers, is not detected (docs/assumptions.md).
type peer struct {
	id       paxos.ServerID
	position int // among the acceptors; -1: it does not vote
	outbox   outbox
	identity identity
	refusal  refusal
	pull     pull
	fetching []*instance // the instances of its page that are not known here; stale ones have lost their bit in instance.fetching
	listing  listing
	told     tables.Marks  // the own Indexes of decisions that its latest process has told of: it needs no page of them
	scan     scan          // of the undecided instances, for it
	stood    time.Duration // when its last Stand was answered; 0: none was
	gone     bool          // it is no member any more, and gets nothing
	complete bool          // it says so, of the configuration under which this server lives

	takes      takes         // its limits, as far as it has said
	maxPacket  int           // largest packet to it, in bytes
	limits     string        // how its limits differ from those here, in words; empty: they don't, or it has said nothing
	limitsTold bool          // its process was told of ours
	limitsAt   time.Duration // when its process was last told
}

// takesValue reports whether the peer takes a value of so many bytes, as far as it has said.
func (p *peer) takesValue(bytes int) bool { return p.takes.value == 0 || bytes <= p.takes.value }

// takes holds the limits of a server for the messages that it takes. It is comparable.
type takes struct{ value, packet int } // Limits.MaxValue and Limits.MaxPacket; zero: it has not said

// text is the text of a message of kind Limits.
func (t takes) text() paxos.Value {
	return paxos.Value(strconv.Itoa(t.value) + " " + strconv.Itoa(t.packet))
}

// A source is a peer, and the start of it, that told this server of a decision or sent a message that waits.
type source struct {
	*peer
	boot uint64
}
