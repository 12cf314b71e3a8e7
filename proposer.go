package paxos

// A Proposer is one attempt of one server to get a value chosen: one ballot. It is a comparable value. A new attempt is a
// new Proposer, so no count of an earlier ballot can leak into a later one. The zero Proposer is not usable: see
// [NewProposer].
//
//	            phase-1 quorum of Promises,                phase-2 quorum
//	            the Accept comes out, once                 of Accepteds
//	preparing ------------------------------> asking ------------------------> chosen
//	    |                                       |
//	    +------- Nacks leave no quorum ---------+----> superseded
//
// Invariants: an acceptor counts once in a phase, and only with messages of exactly this ballot. The value of the Accept is
// fixed when the Accept comes out. It is the value of the highest ballot that the promises of the quorum report. It is the
// proposer's own value only if they report none.
type Proposer struct {
	ballot   Ballot
	own      Value
	quorum   Quorum
	promised Set    // acceptors that sent a Promise
	accepted Set    // acceptors that sent an Accepted
	refused  Set    // acceptors that sent a Nack: they do not vote in this ballot, unless an Accepted says that they did
	highest  Ballot // the highest ballot of a vote that the Promises so far report; zero: they report none
	value    Value  // the value accepted in highest
	above    Ballot // the highest Promised among the Nacks
	asking   bool   // the Accept is out: the value is fixed
}

// NewProposer returns the attempt to get own chosen in ballot b under quorum q. No attempt may have used b before.
//
// In round 0 the attempt has no phase 1. That round is for the owner of an instance alone: see [Owned]. No acceptor can have
// accepted anything below it. So the Accept is there from the start, and there is no Prepare.
func NewProposer(b Ballot, own Value, q Quorum) Proposer {
	return Proposer{ballot: b, own: own, quorum: q, asking: b.Round == 0}
}

// NewPreparedProposer returns the attempt to get own chosen in ballot b under quorum q, without a phase 1. A phase-1 quorum has
// promised b for all ordinary names at once, and told of no vote in this instance (Paxos Made Simple, 3). So the Accept is there from the
// start, and there is no Prepare. No attempt in this instance may have used b before.
func NewPreparedProposer(b Ballot, own Value, q Quorum) Proposer {
	return Proposer{ballot: b, own: own, quorum: q, asking: true}
}

// Prepare returns the message that begins the attempt (Phase1a). It goes to every acceptor. Its Instance is empty; the caller
// fills it in. The message carries the proposer's own value as a hint (S6). The hint has no part in safety and may be left
// out. In round 0 the Kind is zero, and there is nothing to send.
func (p Proposer) Prepare() Message {
	if p.ballot.Round == 0 {
		return Message{}
	}
	return Message{Kind: KindPrepare, Ballot: p.ballot, Value: p.own}
}

// Accept returns the message that asks the acceptors for their votes (Phase2a). [Proposer.Step] returns it once; Accept is for
// sending it again. The Kind is zero while there is no quorum of promises.
func (p Proposer) Accept() Message {
	if !p.asking {
		return Message{}
	}
	return Message{Kind: KindAccept, Ballot: p.ballot, Value: p.Value()}
}

// Step takes a Promise, an Accepted or a Nack from the acceptor at the given position. When a phase-1 quorum has promised, out
// is the Accept, once. It goes to every acceptor. In all other cases the Kind of out is zero.
//
// Messages of other kinds or other ballots change nothing. Neither does a position outside of the quorum.
//
// The error is a [*SafetyError] if m proves that some server broke the protocol. In that case next is p.
func (p Proposer) Step(acceptor int, m Message) (next Proposer, out Message, err error) {
	if m.Ballot != p.ballot || acceptor < 0 || acceptor >= p.quorum.Size() {
		return p, Message{}, nil
	}
	switch m.Kind {
	case KindPromise:
		return p.promise(acceptor, m)
	case KindAccepted:
		if !p.asking {
			return p, Message{}, &SafetyError{Instance: m.Instance, Ballot: m.Ballot,
				Reason: "an acceptor voted in a ballot before any value was asked for"}
		}
		p.accepted = p.accepted.With(acceptor)
	case KindNack:
		p.refused = p.refused.With(acceptor)
		if p.above.Less(m.Promised) {
			p.above = m.Promised
		}
	}
	return p, Message{}, nil
}

// promise is Phase2a: "If the proposer receives a response to its prepare requests (numbered n) from a majority of
// acceptors, then it sends an accept request to each of those acceptors for a proposal numbered n with a value v, where v
// is the value of the highest-numbered proposal among the responses, or is any value if the responses reported no
// proposals." (2.2; S8, S14, S15)
//
// Two promises may report different values for the base of a configuration, which is no ballot of an attempt: see
// [Acceptor.Import]. Nothing was chosen below that base then, and each of the values is safe.
func (p Proposer) promise(acceptor int, m Message) (Proposer, Message, error) {
	if !m.Accepted.IsZero() && !m.Accepted.Less(m.Ballot) {
		return p, Message{}, &SafetyError{Instance: m.Instance, Ballot: m.Ballot,
			Reason: "a promise reports a vote in ballot " + m.Accepted.String() + ", which is not below its own"}
	}
	if m.Accepted == p.highest && m.Value != p.value && !m.Accepted.isBase() {
		return p, Message{}, &SafetyError{Instance: m.Instance, Ballot: m.Accepted, Values: [2]Value{p.value, m.Value},
			Reason: "two acceptors voted for different values in one ballot"}
	}
	p.promised = p.promised.With(acceptor)
	if p.asking {
		return p, Message{}, nil
	}
	if p.highest.Less(m.Accepted) {
		p.highest, p.value = m.Accepted, m.Value
	}
	if !p.quorum.Phase1(p.promised) {
		return p, Message{}, nil
	}
	p.asking = true
	out := p.Accept()
	out.Instance = m.Instance
	return p, out, nil
}

// Ballot returns the ballot of the attempt.
func (p *Proposer) Ballot() Ballot { return p.ballot }

// Own returns the value that the attempt was made for: see [NewProposer].
func (p *Proposer) Own() Value { return p.own }

// Asking reports whether the Accept is out, so that the value is fixed.
func (p *Proposer) Asking() bool { return p.asking }

// Accepted returns the acceptors that have voted in this ballot.
func (p *Proposer) Accepted() Set { return p.accepted }

// Highest returns the highest ballot in which the Promises so far report a vote, or the zero Ballot.
func (p *Proposer) Highest() Ballot { return p.highest }

// Value returns the value that the attempt asks the acceptors to accept. Before the Accept is out, it is the value that the
// Accept would have now.
func (p Proposer) Value() Value {
	if p.highest.IsZero() {
		return p.own
	}
	return p.value
}

// Chosen reports whether a phase-2 quorum has accepted. The value is then chosen, for ever.
func (p Proposer) Chosen() bool { return p.asking && p.quorum.Phase2(p.accepted) }

// Superseded reports whether the attempt can no longer succeed: the acceptors that have not refused make no quorum. above is
// the highest ballot that a refusal named.
//
// A refusal in phase 1 rules the acceptor out of phase 2 too, because it has promised a higher ballot. An Accepted outweighs
// a Nack, in either order: a vote that was cast stays a vote after a later promise.
func (p Proposer) Superseded() (above Ballot, ok bool) {
	left := All(p.quorum.Size()) &^ p.refused
	if !p.quorum.Phase2(left|p.accepted) || !p.asking && !p.quorum.Phase1(left|p.promised) {
		return p.above, true
	}
	return p.above, false
}

// Answered returns the acceptors that have answered the current phase. Before the Accept is out, a Promise or a Nack is an
// answer. After that, an Accepted or a Nack is one.
func (p Proposer) Answered() Set {
	if p.asking {
		return p.accepted | p.refused
	}
	return p.promised | p.refused
}

// Refused returns the acceptors that refused this ballot and have not voted in it.
func (p Proposer) Refused() Set { return p.refused &^ p.accepted }
