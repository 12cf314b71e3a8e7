package paxos

// An Acceptor is the memory of one acceptor for one instance: maxBal, maxVBal and maxVal of Lamport's specification. It is
// a comparable value. The zero Acceptor has promised and accepted nothing.
//
// Invariants: Accepted <= Promised. Promised never goes down. One ballot never has two values.
type Acceptor struct {
	Promised Ballot // maxBal: the acceptor accepts no lower ballot any more
	Accepted Ballot // maxVBal: the highest ballot in which it accepted a value; zero: it has accepted nothing
	Value    Value  // maxVal: the value accepted in Accepted
}

// Step answers one Prepare or Accept with a Promise, an Accepted or a Nack. A message of another kind, or of no ballot, gets
// no reply: the Kind of reply is then zero.
//
// The error is a [*SafetyError] when m proves that some server broke the protocol. In that case next is a, and there is no
// reply.
//
// next must be durable before the reply leaves. This also holds when next == a and a is still being saved: a promise that a
// crash can take back is no promise (Paxos Made Simple, 2.5). Only a Nack may leave at once, since it asserts nothing.
//
// An acceptor accepts a ballot of round 0 from the owner of the instance alone: see [Owned]. Round 0 is never prepared.
func (a Acceptor) Step(m Message) (next Acceptor, reply Message, err error) {
	if m.Ballot.Server == 0 {
		return a, Message{}, nil
	}
	switch m.Kind {
	case KindPrepare:
		next, reply = a.prepare(&m)
		return next, reply, nil
	case KindAccept:
		return a.accept(&m)
	}
	return a, Message{}, nil
}

// prepare is Phase1b. "If an acceptor receives a prepare request with number n greater than that of any prepare request
// to which it has already responded, then it responds to the request with a promise not to accept any more proposals
// numbered less than n and with the highest-numbered proposal (if any) that it has accepted." (2.2; S7)
func (a Acceptor) prepare(m *Message) (Acceptor, Message) {
	if m.Ballot.Round == 0 || m.Ballot.Less(a.Promised) {
		return a, a.nack(m)
	}
	if m.Ballot == a.Accepted {
		// This is a late duplicate: the ballot of the Prepare has moved on, and this acceptor has voted in it. It repeats
		// the vote, because a Promise that reports its own ballot would be a contradiction.
		return a, Message{Kind: KindAccepted, Instance: m.Instance, Ballot: m.Ballot}
	}
	a.Promised = m.Ballot
	return a, Message{Kind: KindPromise, Instance: m.Instance, Ballot: m.Ballot, Accepted: a.Accepted, Value: a.Value}
}

// accept is Phase2b. "If an acceptor receives an accept request for a proposal numbered n, it accepts the proposal unless
// it has already responded to a prepare request having a number greater than n." (2.2; S9) Accepting raises the promise
// too, as in Paxos.tla: an acceptor that missed the Prepare must not go back below its own vote.
func (a Acceptor) accept(m *Message) (Acceptor, Message, error) {
	if m.Ballot == a.Accepted && m.Value != a.Value {
		return a, Message{}, &SafetyError{Instance: m.Instance, Ballot: m.Ballot, Values: [2]Value{a.Value, m.Value},
			Reason: "an acceptor was asked to accept two values in one ballot"}
	}
	if m.Ballot.Less(a.Promised) || m.Ballot.Round == 0 && !OwnsRound(m.Ballot, m.Instance) {
		return a, a.nack(m), nil
	}
	next := Acceptor{Promised: m.Ballot, Accepted: m.Ballot, Value: m.Value}
	return next, Message{Kind: KindAccepted, Instance: m.Instance, Ballot: m.Ballot}, nil
}

// nack refuses m. It names the higher ballot, so that the proposer need not guess. (2.2: "it is probably a good idea to
// abandon a proposal if some proposer has begun trying to issue a higher-numbered one"; S7)
func (a Acceptor) nack(m *Message) Message {
	return Message{Kind: KindNack, Instance: m.Instance, Ballot: m.Ballot, Promised: a.Promised}
}
