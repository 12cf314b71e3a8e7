package durable

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/singledecree/paxos/internal/explore"
)

// exModel takes the steps of an exSpace and checks its states: see explore.Model.
type exModel struct {
	*exSpace
	learner exLearner
	answers map[exQuestion]*exAnswer
	tallies map[uint64]*exTally
	other   [exMost + 1]uint64

	// The state that Next was given, unpacked, and where it sends what comes next.
	from    []uint64
	to      []uint64
	servers [exMost]exServer
	rest    exRest
	emit    func(action uint64, next []uint64)
}

// An exQuestion is what an exAnswer depends on.
type exQuestion struct {
	ballot  int
	accepts uint8
	heard   exHeard
}

func (x *exSpace) model() explore.Model {
	return &exModel{
		exSpace: x, answers: map[exQuestion]*exAnswer{}, tallies: map[uint64]*exTally{}, to: make([]uint64, x.n+1),
		learner: newExLearner(x.quorum),
	}
}

// An exAction is a step, in the low bits its kind and then what it is about.
type exAction uint64

const (
	exPrepare exAction = iota + 1 // ballot
	exAsk                         // ballot, value
	exDeliver                     // server, message, reply+1, wait
	exBegin                       // server
	exEnd                         // server
	exCrash                       // server, message: 1 if the Save that ran survived
)

func (a exAction) server(i int) exAction  { return a | exAction(i)<<8 }
func (a exAction) message(k int) exAction { return a | exAction(k)<<16 }
func (a exAction) reply(r int) exAction   { return a | exAction(r+1)<<24 }
func (a exAction) wait(w Stage) exAction  { return a | exAction(w)<<32 }

func (m *exModel) load(state []uint64) {
	m.from = state
	for i, word := range state[:m.n] {
		m.servers[i] = m.unpack(i, word)
	}
	m.rest = m.unpackRest(state[m.n])
	copy(m.to, state)
}

// Next takes every step: a proposer begins or asks, an acceptor receives, a Save begins or ends, a server crashes. They
// come in any order, so a Prepare and an Accept leave a server also before its own promise and vote are durable; but what
// a server says to itself waits as what it says to others does: its own promise and vote count when they are saved.
func (m *exModel) Next(state []uint64, emit func(action uint64, next []uint64)) error {
	m.load(state)
	m.emit = emit
	for b := range m.ballots {
		if m.startable(b) {
			rest := m.rest
			rest.prepared |= 1 << b
			m.emitRest(exPrepare.message(b), rest)
		}
		if err := m.ask(b); err != nil {
			return err
		}
	}
	for i := range m.n {
		if err := m.deliver(i); err != nil {
			return err
		}
	}
	for i := range m.async {
		if err := m.store(i); err != nil {
			return err
		}
	}
	m.restartOutsider()
	return nil
}

// startable reports whether the Prepare of ballot b can go out: Phase1a. In the paper it always can. A server with a
// life of its own goes up only; when it starts again, all that it had begun is dead.
func (m *exModel) startable(b int) bool {
	if m.paper {
		return true
	}
	if m.ballots[b].Round == 0 {
		return false
	}
	higher := m.owned(m.owners[b]) >> b << b
	if m.owners[b] >= m.async {
		higher = 1 << b
	}
	return m.rest.prepared&higher == 0
}

// ask is Phase2a: every value that a proposer of ballot b can ask for, given what is sent, once in the proposer's life.
func (m *exModel) ask(b int) error {
	if m.ballots[b].Round == 0 {
		return m.askOwned(b)
	}
	if m.rest.asking>>b&1 == 1 || m.rest.dead>>b&1 == 1 {
		return nil
	}
	answer := m.answer(b)
	for v := range m.values {
		if answer.asks>>v&1 == 0 {
			continue
		}
		rest := m.rest
		rest.asking |= 1 << b
		rest.accepts |= 1 << (b*len(m.values) + v)
		times := 1
		if m.paper {
			times = max(1, answer.shown[v])
		}
		for range times {
			m.emitRest(exAsk.message(b*len(m.values)+v), rest)
		}
		if answer.shown[v] == 0 && !m.agreement {
			return fmt.Errorf("I7: no phase-1 quorum of %s shows that %q is safe", m.ballots[b], m.values[v])
		}
	}
	return nil
}

// deliver is Phase1b and Phase2b: server i receives each message that is out.
func (m *exModel) deliver(i int) error {
	s := m.servers[i]
	table := m.acceptorSteps
	if i < m.async {
		table = m.saveSteps
	}
	for k, steps := range table[s.role] {
		if b := k; b < len(m.ballots) && (m.rest.prepared>>b&1 == 0 || m.paper && m.promised(s.role, b)) {
			continue
		} else if b >= len(m.ballots) && m.rest.accepts>>(b-len(m.ballots))&1 == 0 {
			continue
		}
		for _, step := range steps {
			if err := m.received(i, k, step); err != nil {
				return err
			}
		}
	}
	return nil
}

// promised reports whether an acceptor has promised ballot b, or a higher one: Phase1b of Paxos.tla is not enabled
// then.
func (m *exModel) promised(acceptor, b int) bool {
	return !m.acceptors[acceptor].Promised.Less(m.ballots[b])
}

// received takes one step of server i, and sends the reply or holds it back.
func (m *exModel) received(i, k int, step exStep) error {
	s := m.servers[i]
	if step.err != "" {
		if m.agreement {
			return nil
		}
		m.emitServer(exDeliver.server(i).message(k).reply(-1), i, s)
		return errors.New(step.err)
	}
	s, wait, err := m.heard(i, step)
	if s != m.servers[i] || m.paper && step.reply >= 0 {
		m.emitServer(exDeliver.server(i).message(k).reply(step.reply).wait(wait), i, s)
	}
	return err
}

// heard returns server i after a step of its acceptor, and the Save for which the reply waits.
func (m *exModel) heard(i int, step exStep) (s exServer, wait Stage, err error) {
	s, wait = m.servers[i], Saved
	s.role = step.next
	if i >= m.async {
		s.durable = s.role
	}
	if step.reply >= 0 && s.sent>>step.reply&1 == 0 {
		if i < m.async {
			wait = step.wait
		}
		s, err = m.say(s, step.reply, wait)
	}
	return s, wait, err
}

// say lets a reply leave, or holds it until the Save that wait names has ended.
func (m *exModel) say(s exServer, reply int, wait Stage) (exServer, error) {
	switch {
	case wait == Saved:
		return m.release(s, 1<<reply)
	case wait == Flushing:
		s.running |= 1 << reply
		s.gathering &^= 1 << reply
		if s.snapshot == 0 {
			return s, errors.New("a reply waits for a Save that does not run")
		}
	case s.running>>reply&1 == 0:
		s.gathering |= 1 << reply
	}
	return s, nil
}

// release sends replies. I5: stable storage must imply what they assert.
func (m *exModel) release(s exServer, replies uint64) (exServer, error) {
	s.sent |= replies
	s.running &^= replies
	s.gathering &^= replies
	if m.agreement {
		return s, nil
	}
	for ; replies != 0; replies &= replies - 1 {
		if err := m.unbacked(bits.TrailingZeros64(replies), s.durable); err != nil {
			return s, err
		}
	}
	return s, nil
}

// store begins the Save of server i, ends it, or crashes the server.
func (m *exModel) store(i int) error {
	s := m.servers[i]
	if s.snapshot == 0 {
		begun := s
		begun.role = m.began[s.role]
		begun.snapshot = m.volatile[s.role] + 1
		begun.running, begun.gathering = s.gathering, 0
		if begun.role != s.role || s.gathering != 0 {
			m.emitServer(exBegin.server(i), i, begun)
		}
	} else {
		ended, err := m.end(i)
		m.emitServer(exEnd.server(i), i, ended)
		if err != nil {
			return err
		}
	}
	if m.rest.crashes < uint64(m.crashes) {
		m.crash(i, 0, s.durable)
		if s.snapshot != 0 {
			m.crash(i, 1, s.snapshot-1)
		}
	}
	return nil
}

func (m *exModel) end(i int) (exServer, error) {
	s := m.servers[i]
	before := m.acceptors[s.durable]
	s.durable, s.snapshot = s.snapshot-1, 0
	s.votes |= m.voted(s.durable)
	s.role = m.ended[s.role]
	s, err := m.release(s, s.running)
	if m.acceptors[s.durable].Promised.Less(before.Promised) && !m.agreement {
		err = fmt.Errorf("I3: the promise on stable storage goes down from %s", before.Promised)
	}
	return s, err
}

// crash loses all that is not on stable storage, the replies that wait among it, and the proposers. Messages that were
// sent before may still arrive. The server starts again at once: while it is down, nothing happens to it.
func (m *exModel) crash(i, survived, durable int) {
	s := m.servers[i]
	next := exServer{role: m.restarted[durable], durable: durable, votes: s.votes | m.voted(durable), sent: s.sent}
	rest := m.rest
	rest.crashes++
	if own := m.owned(i); m.reuse {
		rest.asking &^= own
	} else {
		rest.dead |= own & rest.prepared
	}
	m.crashOwner(i, &rest)
	m.to[m.n] = m.packRest(rest)
	m.emitServer(exCrash.server(i).message(survived), i, next)
	m.to[m.n] = m.from[m.n]
}

// voted returns the vote that an Acceptor on stable storage shows.
func (m *exModel) voted(acceptor int) uint64 {
	a := m.acceptors[acceptor]
	for b, ballot := range m.ballots {
		for v, value := range m.values {
			if a.Accepted == ballot && a.Value == value {
				return 1 << (b*len(m.values) + v)
			}
		}
	}
	return 0
}

func (m *exModel) emitServer(a exAction, i int, s exServer) {
	rest := m.to[m.n]
	m.to[i] = m.pack(i, s)
	m.sendOwnedAccept(i, s)
	m.emit(uint64(a), m.to)
	m.to[i], m.to[m.n] = m.from[i], rest
}

func (m *exModel) emitRest(a exAction, r exRest) {
	m.to[m.n] = m.packRest(r)
	m.emit(uint64(a), m.to)
	m.to[m.n] = m.from[m.n]
}
