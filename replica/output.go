package replica

import "github.com/singledecree/paxos"

// A ReplicaConfig says which server a Replica is.
type Config struct {
	// ID is the server, which the storage was formatted for.
	ID paxos.ServerID
	// State is exactly what Storage.Server returned. The first Output is the Save that raises its Boot and Rounds, and
	// nothing else leaves before that Save is done, but the ends of calls that fail.
	State paxos.ServerState
	// Nonce is a random number that no other start of any server has: it tells two processes on copies of one storage
	// apart. A Node takes it from crypto/rand.
	Nonce   uint64
	Members paxos.Members
	// Open lists the instances that the storage holds undecided: see Storage.Undecided. They are finished, as far as this
	// server can, in this order, as there is room for them. More than Backlog of them are of no use at a time. The Replica keeps the slice.
	Open   []string
	Limits paxos.Limits
	Timing paxos.Timing
	Seed   uint64 // of the randomness in waits between attempts; the same inputs give the same outputs
	Trace  bool   // fill Output.Events
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
	if _, err := parsePulled(c.State.Pulled); err != nil {
		return err
	}
	if _, err := c.State.Stores(); err != nil {
		return err
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

// Output is what a Replica wants done. What its slices hold is valid until the next Take, but for the Batch, which is until Saved: a host
// that hands it on to another goroutine hands on a copy. See [Packet.Clone] and [Batch.Clone].
type Output struct {
	// Send holds packets that may leave now, in any order, or be lost. Their Messages are valid until the next Take.
	Send []paxos.Packet
	// Save, if not nil, is to be made durable, and Saved called when it is. At most one is out; what comes meanwhile
	// gathers for the next. The Batch is valid until Saved.
	Save *paxos.Batch
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
	Faults []*paxos.SafetyError
	// Stop, once not nil, says why this server must stop: its identity was refused. The Replica takes nothing more.
	Stop error
	// Events is what happened since the last Take, in order, if ReplicaConfig.Trace is set.
	Events []paxos.Event
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

// An op is what a call wants.
type op uint8

const (
	opPropose op = iota
	opWait
	opRead
	opReady
	opNone // what is no call any more
	opMint // what is no call either, but can fail
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
	}
	return "mint"
}

// unsent returns the error of a call of which nothing has left.
func unsent(o op, instance string, err error) *paxos.OpError {
	return &paxos.OpError{Op: o.String(), Instance: shownName(instance), Err: err, Unsent: true}
}

// readyName is the instance that Ready asks about. Nobody proposes in it.
const readyName = "$ready"

// shownName is the name for an error: Ready has none, and a bad name is cut to what is readable.
func shownName(name string) string {
	if name == readyName {
		return ""
	}
	return name[:min(len(name), paxos.MaxName)]
}
