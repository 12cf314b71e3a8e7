package paxos

import "slices"

// A Value is what the servers agree on: opaque bytes. It is a string, because a string cannot change. So states and messages
// are comparable, and share one copy. The empty Value is a value like any other.
//
// Its JSON form loses nothing: it is a string if the bytes are valid UTF-8, else {"base64": "…"}.
type Value string

// A Decision is the value that was chosen in an instance, whichever server proposed it. It is comparable.
type Decision struct {
	Instance string
	Value    Value
	// Ballot is the ballot in which this server learned of the decision. It is for diagnosis, and may differ between servers.
	Ballot Ballot
}

// A Learned is a decision with its place in this server's own order of decisions.
type Learned struct {
	Decision
	// Index rises, with gaps. On this server it means this decision for ever, also after a restart. Another server numbers
	// its decisions in another order.
	Index uint64
}

// A Kind says what a [Message] is about. The numbers are part of the wire format and never change.
type Kind uint8

// The kinds of messages. Phase 1 is Prepare and Promise, and phase 2 is Accept and Accepted. A Nack answers a Prepare or an
// Accept.
//
//	kind      from        to         Ballot         Promised   Accepted, Value
//	--------  ----------  ---------  -------------  ---------  -------------------------------------------------------
//	Prepare   proposer    acceptors  the attempt               Value: the proposer's own, as a hint; empty: none
//	Promise   acceptor    proposer   the attempt               the vote it cast before, if any
//	Accept    proposer    acceptors  the attempt               Value: what the acceptor is asked to accept
//	Accepted  acceptor    proposer   the attempt
//	Nack      acceptor    proposer   the attempt    its own
//	Chosen    proposer    acceptors  the attempt               none: a vote in Ballot or above has the value
//	Decided   any         any        the decision's            Value: the chosen value
//	Query     any         acceptors  a fresh one
//	State     acceptor    any        the Query's    its own    its vote, if any
//	Pull      any         acceptors                            Value: "STORE INDEX BOOT", see docs/messages.md
//	Names     acceptor    any                                  Value: "STORE INDEX BOOT TO", then a line for each name
//	Decisions acceptor    any                                  Value: likewise, then names and decisions in bytes
//	Refuse    any         any                                  Value: the refused start, and the reason in words
//	Limits    any         any                                  Value: "MAXVALUE MAXPACKET"
//	Forget    any         acceptors                            Value: the range of names, if it is no single Instance
//	Forgotten acceptor    any                                  likewise; all of it is forgotten, and that is durable
//	Scan      acceptor    acceptors                            Value: "BOOT PAGE", then the last name that is known on a line
//	Open      acceptor    acceptor                             Value: "BOOT PAGE INDEX", " end", then a line for each name
//	Stand     acceptor    acceptors  the standing one
//	Stood     acceptor    acceptor   the Stand's                Value: "STORE INDEX", then a line for each name
const (
	KindPrepare   Kind = 1  // 1a: begin a ballot
	KindPromise   Kind = 2  // 1b: no lower ballot will be accepted
	KindAccept    Kind = 3  // 2a: accept this value
	KindAccepted  Kind = 4  // 2b: a vote was cast
	KindNack      Kind = 5  // refuses a Prepare or an Accept, and names the higher ballot
	KindChosen    Kind = 6  // the value that you accepted in Ballot, or above, is chosen
	KindDecided   Kind = 7  // this value is chosen
	KindQuery     Kind = 8  // asks for the promise and the vote of an acceptor
	KindState     Kind = 9  // answers a Query
	KindPull      Kind = 10 // asks for decisions by Index
	KindRefuse    Kind = 11 // the sender takes nothing from the receiver
	KindNames     Kind = 12 // answers a Pull with the names of decided instances
	KindLimits    Kind = 13 // the largest value and packet that the sender takes
	KindForget    Kind = 14 // forget this instance, or all instances in this range of names
	KindForgotten Kind = 15 // answers a Forget
	KindScan      Kind = 16 // asks for the names of undecided instances
	KindOpen      Kind = 17 // answers a Scan
	KindDecisions Kind = 18 // answers a Pull that wants values: names of decided instances, with decisions
	KindStand     Kind = 19 // begins a ballot for all ordinary names at once
	KindStood     Kind = 20 // answers a Stand: no lower ballot will be accepted for any of them, and these names have a vote or a decision
	KindForward   Kind = 21 // asks a server that stands to get its value chosen
)

// A Message is what one server says to another about one instance. It is flat and comparable, so a batch of messages is one
// allocation. A field means the same in every kind that has it.
type Message struct {
	Kind     Kind
	Instance string
	// Ballot is the attempt, or the Query, that the message belongs to.
	Ballot Ballot
	// Promised, in a Nack and a State, is the highest ballot that the sender has promised.
	Promised Ballot
	// Accepted, in a Promise and a State, is the ballot in which the sender accepted Value; zero: it accepted nothing.
	Accepted Ballot
	// Value, in a Prepare, is a hint; empty: none. In a Promise and a State it is the accepted value. In an Accept it is the
	// value to accept. In a Decided it is the chosen value. In a Nack of a forgotten instance it is the range of names that was
	// forgotten, as text. In a Pull, a Names, a Refuse, a Limits, a Forget, a Forgotten and a Stood it is text. In a Decisions it is a page
	// of decisions: see docs/messages.md.
	Value Value
}

// A Packet is everything that one server sends to another at once. A [Transport] carries Packets.
type Packet struct {
	From, To ServerID
	// Store names the storage of the sender. Boot counts the starts of the sender on that storage. Nonce is random for each
	// process. Together they expose an impostor, a copied directory, and a disk that went back in time.
	Store, Boot, Nonce uint64
	// Members is the fingerprint of the sender's cluster, acceptors and quorum: see [Members.Fingerprint].
	Members uint64
	// Index is the Index of the sender's last durable decision.
	Index uint64
	// Seq counts the packets of the sender to To, from 1. In traces it joins a send with its receipt.
	Seq uint64
	// ToStore names the storage of To that the sender has met: see [ServerState].Peers. A server on any other storage drops the
	// packet. 0: the sender has met none, or is of a version that does not say.
	ToStore uint64
	// Configuration is the number of the sender's [Configuration], at most 2^63-1. 0: the first, or the sender is of a version
	// that knows no other.
	Configuration uint64
	// Complete says that the sender has taken over the memory of the acceptors before its Configuration. It is false in
	// configuration 0, where there are none.
	Complete bool
	Messages []Message
}

// Clone returns a copy of p with Messages of its own.
func (p Packet) Clone() Packet {
	p.Messages = slices.Clone(p.Messages)
	return p
}
