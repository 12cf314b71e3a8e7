package replica

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
	"github.com/singledecree/paxos/internal/page"
)

// A Config says which server a Replica is.
type Config struct {
	// ID is the server. Its storage was formatted for this ID.
	ID paxos.ServerID
	// State is exactly the result of [paxos.Storage].Server. The first Output is the Save that raises its Boot and its
	// Rounds. Until that Save is done, nothing leaves but the ends of calls that fail.
	State paxos.ServerState
	// Nonce is a random number that no other start of any server has. It tells two processes on copies of one storage apart.
	// A Node takes it from crypto/rand.
	Nonce uint64
	// Members are those that the storage was formatted with, or of any later configuration. If State names a configuration, that one
	// counts.
	Members paxos.Members
	// Open lists the instances that the storage holds undecided: see [paxos.Storage].Undecided. The Replica finishes them as
	// far as it can, in this order, as there is room for them. Names beyond the first [Backlog] are of no use. The Replica
	// keeps the slice.
	//
	// No other name may be left out: this acceptor tells from Open which names may have a vote, when another server takes a standing
	// ballot. Nil says that Open does not tell. After the first start, this acceptor then promises no standing ballot. A slice of
	// no names says that there are none.
	Open []string
	// Forgotten is exactly the result of [ReadForgotten]: the ranges of names that this server has forgotten. New refuses a
	// Config with fewer of them than State says.
	Forgotten []paxos.Record
	Limits    paxos.Limits
	Timing    paxos.Timing
	Seed      uint64 // of the random waits between attempts; the same inputs give the same outputs
	Trace     bool   // fill Output.Events
	// RoundTrips says: fill Output.RoundTrips.
	RoundTrips bool
	// NoStanding says: do not stand. A server that proposes much in names that nobody else proposes in asks the acceptors to promise one
	// of its ballots for all ordinary names at once. It then decides after one round trip. As an acceptor this server promises standing ballots
	// of others all the same.
	NoStanding bool
}

func (c Config) check() error {
	if err := c.Members.Check(); err != nil {
		return err
	}
	if err := c.Limits.Check(); err != nil {
		return err
	}
	if err := c.Timing.Check(); err != nil {
		return err
	}
	if _, err := page.ParseCursors(c.State.Pulled); err != nil {
		return err
	}
	if _, err := c.State.Stores(); err != nil {
		return err
	}
	if c.State.Configuration != "" {
		current, err := paxos.ParseConfiguration(c.State.Configuration)
		if err != nil {
			return fmt.Errorf("ServerState.Configuration: %w", err)
		}
		return c.State.Check(c.ID, current.Members)
	}
	return c.State.Check(c.ID, c.Members)
}

// A CallID names one call to a Replica. The host chooses it, and never uses one twice.
type CallID uint64

// Done is the end of a call.
type Done struct {
	ID       CallID
	Decision paxos.Decision
	OK       bool  // Decision is valid
	Err      error // an *OpError, or nil
}

// Output is the work that a Replica asks of its host. The content of its slices is valid until the next Take. Only the
// content of the Batch is valid longer, until Saved. A host that hands a packet or a batch to another goroutine hands over a
// copy: see [paxos.Packet.Clone] and [paxos.Batch.Clone].
type Output struct {
	// Send holds packets that may leave now, in any order, or be lost. Their Messages are valid until the next Take.
	Send []paxos.Packet
	// Save, if not nil, is to be made durable; the host then calls [Replica.Saved]. At most one Save is out. Later changes
	// gather for the next one. The Batch is valid until Saved.
	Save *paxos.Batch
	// Load names instances to look up with [paxos.Storage].Load; each is answered by [Replica.Loaded]. The host may look
	// them up beside each other and beside Saves, and answer in any order and at any time.
	//
	// From Load to Loaded an instance is not asked for again, and no Batch holds a record of it. It has nothing in memory to
	// save before Loaded. It leaves memory only when all of it is durable. So the result of a Load is never older than the
	// last record that this server saved.
	Load []string
	// List holds pages of this server's decisions to look up with [List]; each is answered by
	// [Replica.Listed], with its ID. The host may look them up beside each other and beside Saves, and answer in any order
	// and at any time.
	List []ListAsk
	// Done holds the ends of calls.
	Done []Done
	// Index is the highest Index of a durable record. Subscribers may read up to it.
	Index uint64
	// Faults holds the proofs, met since the last Take, that some server broke the protocol.
	Faults []*paxos.SafetyError
	// Stop says why this server must stop; nil: it need not. Its identity was refused, or the host called [Replica.Stop].
	// The Replica takes no more inputs.
	Stop error
	// Events holds the events since the last Take, in order, if [Config].Trace is set.
	Events []paxos.Event
	// RoundTrips holds the round trips to a quorum that ended since the last Take, if [Config].RoundTrips is set.
	RoundTrips []paxos.RoundTrip
}

// A ListAsk asks for a page of decisions: the result of [List], read after this Output was taken. The page holds at least
// the decisions that were durable then. Later decisions may be in it or not.
type ListAsk struct {
	// ID names this question, from 1. A Replica uses no ID twice. A page answers only the question that it was read for. A
	// page that was read for an earlier question lacks later decisions, though After is the same.
	ID    uint64
	After uint64
	Max   int
	// Forgotten says that some of these decisions may be forgotten names. [List] then tells which.
	Forgotten bool
	// Values asks for the decisions too, of which the values are not large.
	Values bool
	// Open says that the page has undecided instances instead, in the order of their names, after Name. Their Index is 0.
	Open bool
	Name string
}

// A Page is the result of [List].
type Page struct {
	Names []paxos.Named
	// Decisions, if not empty, holds what was decided in each of Names: the value, and the ballot in Accepted. If Accepted is zero, the
	// page has no decision for the name.
	Decisions []paxos.Acceptor

	listed bool // a storage listed it: the peer is far behind
}

// line returns the line of a page for name number i. values: with the decision.
func (p *Page) line(i int, values bool) page.Line {
	l := page.Line{Name: p.Names[i].Instance}
	if values && i < len(p.Decisions) {
		a := &p.Decisions[i]
		l.Ballot, l.Value = a.Accepted, a.Value
	}
	return l
}

// A listing is a page for a peer that has pulled, from the Pull until the page leaves.
type listing struct {
	ask   uint64        // the ListAsk to our own storage for it; 0: none is out
	from  uint64        // the page lists decisions after this Index
	top   uint64        // the durable Index when the peer pulled: a page that is not full claims to list all up to here
	said  uint64        // the peer knows all decisions up to this Index of this server
	moved time.Duration // when it said so first

	values bool // the peer wants the values too
}

// says notes that the peer knows all decisions up to that Index of this server.
func (l *listing) says(now time.Duration, index uint64) {
	if l.said != index {
		l.said, l.moved = index, now
	}
}

// isRead reports whether the peer has gone on to read this server's decisions in the last so much time.
func (l *listing) isRead(now, lately time.Duration) bool { return now-l.moved <= lately }

// told returns the Index of this server up to which the peer knows all decisions, as it has said.
func (l *listing) told() uint64 { return l.said }

// begin begins a page of the decisions after that Index. top is the durable Index.
func (l *listing) begin(after, top uint64, values bool) { l.from, l.top, l.values = after, top, values }

// asks notes that the storage is asked for the page, by the ListAsk with that ID.
func (l *listing) asks(id uint64) uint64 {
	l.ask = id
	return id
}

// question returns what the peer has asked for: the decisions after Index from, up to Index top, with or without their values.
func (l *listing) question() (from, top uint64, values bool) { return l.from, l.top, l.values }

// waits reports whether the storage was asked for the page.
func (l *listing) waits() bool { return l.ask != 0 }

// answer reports whether the ListAsk with that ID is the one for this page, which waits no more then.
func (l *listing) answer(id uint64) bool {
	if l.ask != id {
		return false
	}
	l.ask = 0
	return true
}

// An op is the kind of a call.
type op uint8

const (
	opPropose op = iota
	opWait
	opRead
	opReady
	opForget
	opSettled
	opNone // not a call any more
	opMint // not a call either, but it can fail
)

func (o op) String() string {
	switch o {
	case opPropose:
		return "propose"
	case opWait:
		return "wait"
	case opRead:
		return "read"
	case opReady:
		return "ready"
	case opForget:
		return "forget"
	case opSettled:
		return "settled"
	}
	return "mint"
}

// unsent returns the error of a call if nothing of it has left.
func unsent(o op, instance string, err error) *paxos.OpError {
	return &paxos.OpError{Op: opName(o, instance), Instance: shownName(instance), Err: err, Unsent: true}
}

// opName is the name of a call: to propose a configuration is to change the members.
func opName(o op, instance string) string {
	if o == opPropose && change.IsConfiguration(instance) {
		return "change"
	}
	return o.String()
}

// readyName is the instance that Ready asks about. No server proposes in it.
const readyName = "$ready"

// shownName is the name for an error: Ready has none, and a bad name is cut to what is readable.
func shownName(name string) string {
	if name == readyName {
		return ""
	}
	return name[:min(len(name), paxos.MaxName)]
}

// settledName is the name of the instance that holds the calls of Settled.
const settledName = "$settled"

// askedPrefix begins the names of the instances that hold the calls of askToForget.
const askedPrefix = "$forgetting "
