package replica

import (
	"strconv"
	"time"

	"github.com/singledecree/paxos"
)

// An instance is what a server holds in memory of one instance that is not decided, or whose decision is not saved yet. What is looked
// at most stands first, together. Of others see memo.
type instance struct {
	name     string
	acceptor acceptorState      // the acceptor; of a decided instance, the decision
	stopped  *paxos.SafetyError // proof that the protocol was broken here: nothing more is said or believed

	chosen     bool // decided: acceptor.Value was chosen, in acceptor.Accepted as far as this server knows
	gathered   bool // in saves.gather
	saving     bool // in saves.running
	loading    bool // the storage has been asked for it; messages wait in arrivals
	wantsRound bool // in rounds.waiting
	wantsRoom  bool // in inflight.line
	orphaned   bool // there is nothing to finish it with, and the others were asked: it is left alone until the next ballot
	overdue    bool // its silence ended, and there was no round to take over with: it is taken over when there is
	called     bool // a call was made in it since it was last without anything to do
	room       room // in which it is counted

	timer    timer                 // when the first alarm is due
	alarms   [alarms]time.Duration // when each is; 0: it is not set
	unsaved  int                   // bytes that saves.unsaved counts for it
	fetching paxos.Set             // acceptors whose pulled names wait for its decision
	calls    callers
	list     *list // table.quiet or table.watched, from where it may leave memory, or inflight.line; nil: none
	index    uint64
	seen     uint64 // the highest round seen here
	attempt  attempt

	learnedFrom source // who told of the decision
	pendingNotices
	prev, next *instance
	arrivals   []arrival

	// The hint is the value that the proposer of the highest ballot prepared here wants. It is a help for whoever has to
	// finish the instance, never a vote, and is lost with the memory.
	hint       paxos.Value
	hintBallot paxos.Ballot

	since       time.Duration // when it came into memory
	ballots     int           // new ones that were promised, in this life
	askForValue *peer         // said Chosen, and is to be asked what; nil: none
	asking      *asking       // nil: as an empty one; few instances ever ask
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

// decision returns what was chosen; inst.chosen must hold.
func (inst *instance) decision() paxos.Decision {
	return paxos.Decision{Instance: inst.name, Value: inst.acceptor.Value, Ballot: inst.acceptor.Accepted}
}

// unsettled reports whether inst waits for the disk, on which everything goes on by itself.
func (inst *instance) unsettled() bool {
	return inst.loading || inst.gathered || inst.saving || inst.acceptor.stage != saved || inst.wantsRound
}

// busy reports whether something of inst would be lost or is expected back: it can't leave memory. What its timers are for can be
// done later, and an attempt or a question for nobody here be given up.
func (inst *instance) busy() bool {
	return inst.unsettled() || inst.wantsRoom || inst.fetching != 0 || len(inst.calls.all) > 0 || inst.stopped != nil ||
		inst.attempt.purpose == forTakeover
}

// wanted reports whether the attempt of inst is of use to anybody.
func (inst *instance) wanted() bool {
	return inst.attempt.purpose == forTakeover || inst.calls.proposes() != nil || inst.attempt.purpose == forRead && inst.calls.reads()
}

// wantsAnswer reports whether a call needs a question to be asked. Whoever only waits is served by an attempt, and a Read
// by the one that it brought about; it needs an answer of its own beside the attempts of others, which may take long.
func (inst *instance) wantsAnswer() bool {
	l := &inst.calls
	return l.want(opWait) && inst.attempt.state == attemptNone || l.want(opReady) ||
		l.want(opRead) && (inst.attempt.state == attemptNone || inst.attempt.purpose != forRead)
}

// An arrival is a message that came before its instance was loaded.
type arrival struct {
	source // whose it is, and of which start
	m      paxos.Message
}

// maxArrivals bounds the messages that wait for one instance to be loaded. Beyond it messages are lost, as they may be on
// any network.
const maxArrivals = 64

// Room. An instance in memory is in one of these rooms, or in none. No room can be filled by what is in another: servers whose own
// calls took the room for those of the others, each in other instances, would wait for each other for ever.
//
//	calls     calls wait in it                                       Limits.MaxOpen; beyond, calls get ErrBusy
//	own       its calls have ended, and the disk has not all of it   MaxOpen or minOwn; beyond, calls get ErrBusy
//	work      others ask about it, and the disk is at work           MaxOpen or minWork; beyond, messages are dropped
//	fetching  its decision was asked for                             see fetch
//	none      it is being taken over                                 see mostTakeovers
//	none      it waits for a silence to end, or for nothing          what is left of 2 x MaxOpen in all
//
// What is in the rooms own and work leaves them as the disk goes on, whatever other servers do. An acceptor needs no more room than that
// to answer. So with a quorum of acceptors that go on, every call ends, at however many servers and however small MaxOpen is.
//
// What waits for a silence leaves memory when there is more than 2 x MaxOpen in it: see evicted.
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

// A list is of instances, the one that came first at the front. An instance is in one at most.
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

// An alarm is what an instance wants to be woken for.
type alarm uint8

const (
	alarmAttempt alarm = iota // the attempt goes on
	alarmAsk                  // the question is asked again, or what its answers leave open is finished
	alarmWatch                // nobody has finished the instance: see takeOver
	alarms
)

// A timer is when something is due: the first alarm of an instance in memory, or the silence of one that has left it. It knows its
// place, so setting it anew moves it.
type timer struct {
	place   int // among the timers, from 1; 0: it is not set
	at      time.Duration
	inst    *instance
	evicted *evicted // inst is nil then
}

// An evicted is what stays of an instance that left memory because there was no room for it, and that this server has to see finished:
// its silence, and what is known of it but not stored. The instance comes back when somebody asks about it, or when the silence ends.
type evicted struct {
	timer
	name       string
	hint       paxos.Value
	hintBallot paxos.Ballot
	promised   paxos.Ballot // for Status
	since      time.Duration
	ballots    int
}

// An attemptState says where an instance stands in getting its value chosen.
type attemptState uint8

const (
	attemptNone    attemptState = iota
	attemptRunning              // a ballot is out
	attemptBackoff              // the last ballot met a higher one; the next begins when the timer is due
)

// A purpose says for whom an attempt is.
type purpose uint8

const (
	forCalls    purpose = iota // a call offers its value
	forTakeover                // nobody here: it finishes what another server began
	forRead                    // a Read met votes that decide nothing yet: it finishes what they began
)

// An attempt is the one Proposer that this server has in an instance, and what is needed to try again. In a backoff the
// Proposer is the one that was given up: it takes no more answers, and says how far it came.
type attempt struct {
	paxos.Proposer
	state       attemptState
	purpose     purpose
	exposed     bool          // the own value may have left, as a hint or in an Accept
	began       time.Duration // when the ballot began
	asked       time.Duration // when the Accept left first
	inflight    int           // bytes that Replica.inflight counts for it
	acceptWaits bool          // the Accept has not left: it waits for the own vote, see beginOwned
	resends     int           // of the phase that runs
	tries       int           // ballots that met a higher one, one after the other
}

func (a *attempt) running() bool { return a.state == attemptRunning }

// promised returns who has promised to the ballot that runs.
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

// outlived reports whether an attempt in round 0 has had its time: the own disk has not saved the vote, and those of the
// others may be enough, or the acceptors did not answer twice, and may be of a version that knows of no owners. A ballot
// with a phase 1 needs neither. For the same reason, none but the first attempt is in round 0.
func (a *attempt) outlived() bool {
	return a.running() && a.Ballot().Round == 0 && (a.acceptWaits || a.resends > 0)
}

// asking is a question to all acceptors about one instance: what have you promised and accepted? Its ballot is fresh and
// is never prepared, so an answer belongs to exactly one question. Votes are for ever, so the learner counts them whatever
// question they answer; who is there to answer, and who had accepted nothing, is asked anew each time.
type asking struct {
	on       bool
	closing  bool // its answers leave open what is chosen: who has not answered has a little time left
	ballot   paxos.Ballot
	at       time.Duration // when it was asked
	answered paxos.Set
	none     paxos.Set // those of them that had accepted nothing
	learner  paxos.Learner
	times    int // how often it was asked
}

// pendingNotices says which acceptors are told of a decision only when they answer an earlier message.
type pendingNotices struct {
	ownBallot  paxos.Ballot // the own ballot that ran when another told of the decision: who promises to it is told. See decidedBy
	lateVoters paxos.Set    // acceptors whose votes are on their way. See chosen
}

// due reports whether the acceptor at that position, which answers, is to be told now.
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

// A reply waits for a Save. Its content is as of its Step; from is the instance it is about.
type reply struct {
	from *instance
	to   *peer // nil: this server's own proposer
	m    paxos.Message
}

// A peer is another server, and what this one remembers of it. Its Store is stored; of the rest, what no peer remembers, nobody detects
// (docs/assumptions.md).
type peer struct {
	id       paxos.ServerID
	position int // among the acceptors; -1: it does not vote
	seq      uint64
	out      []paxos.Message // for the next packet
	sent     []paxos.Message // those of the last Output
	outBytes int
	long     int // how many of out are long
	news     int // how many of out are Chosen

	pull           pull
	again          bool           // a packet was the first for a while: see notice
	newer          bool           // the latest packet taken was later than all before it
	store          uint64         // its storage, for ever; 0: it was not met yet. See meet
	storing        uint64         // the Save that makes store durable here; 0: it is
	held           []paxos.Packet // that came before
	heard          bool           // in this life of ours; what follows is of the latest packet taken
	heardAt        time.Duration
	boot, nonce    uint64
	lastSeq, index uint64

	refused   string        // why its packets are refused, or why it refuses ours; empty: it isn't so
	refusedAt time.Duration // when it was last told
	told      bool          // it was ever told
	dropped   uint64        // its packets that were not taken

	takes      takes         // what it has said that it takes
	maxPacket  int           // bytes of a packet to it
	limits     string        // how its limits differ from those here, in words; empty: they don't, or it has said nothing
	limitsTold bool          // its process was told of ours
	limitsAt   time.Duration // when it was last
}

// mayDelay reports whether nobody waits for the messages to that peer.
func (p *peer) mayDelay(most int) bool { return p.news == len(p.out) && p.outBytes < most/2 }

// takesValue reports whether the peer takes a value of so many bytes, as far as it has said.
func (p *peer) takesValue(bytes int) bool { return p.takes.value == 0 || bytes <= p.takes.value }

// takes is what a server takes of another. It is comparable.
type takes struct{ value, packet int } // Limits.MaxValue and Limits.MaxPacket; zero: it has not said

// text is the text of a Limits.
func (t takes) text() paxos.Value {
	return paxos.Value(strconv.Itoa(t.value) + " " + strconv.Itoa(t.packet))
}

// A source is a peer that told this server something, and which start of it: of a decision, or in a message that waits.
type source struct {
	*peer
	boot uint64
}

// A pull is what a server has of the decisions of one acceptor.
type pull struct {
	store  uint64        // whose decisions
	cursor uint64        // all up to this Index of that store are known here, in memory at least
	goal   uint64        // where the acceptor stood when it was heard first in this life
	at     time.Duration // when the next Pull is due
	asked  time.Duration // when the last one left; 0: none has, or it was answered
	own    uint64        // what was decided here then
	active bool          // a page was asked for, or its decisions are being fetched
	tries  int           // Pulls that came to nothing, one after the other
	turn   bool          // it has sent a Pull since the last one that left
	urged  bool          // the last one that left was out of turn

	to       uint64      // the page ends at this Index; 0: it has not come
	page     []string    // its names
	names    []string    // those of them not looked at yet
	fetching []*instance // those of the page that are not known here; stale ones have lost their bit in fetching
	open     int         // how many of them are not

	stored pulled // what ServerState.Pulled says of it, or is about to
	added  uint64 // see saves.added, as of the last page's end
	ask    uint64 // the ListAsk that our own storage was sent for that server; 0: none is out
	from   uint64 // the page is of what came after this Index
	top    uint64 // the durable Index when the question was put: a page that is not full lists all up to here, and no more is claimed
}
