package replica

import (
	"errors"

	"github.com/singledecree/paxos"
)

// An exZero says whether the instance is owned, and how its name was made. The owner is the server of ballot 0, which is of
// round 0 then.
type exZero uint8

const (
	exNobodys exZero = iota
	exOwned          // by Owned
	exMinted         // by Mint, in the owner's first life
)

// An exOwnership is the part of an exConfig that is about owned instances. What a Replica does in round 0 (ownsRound and
// beginOwned) is in this file, rule by rule; the roles are those that ship.
type exOwnership struct {
	zero      exZero
	strangers int // so many ballots from 1 on are of round 0, too: their servers use it, and should not

	// Rules to leave out.
	anyone    bool // acceptors take round 0 from anyone
	unchecked bool // the owner uses round 0 whatever its acceptor has promised or accepted
	unvoted   bool // it does not vote at once: its own Accept comes to its acceptor as to any other, or not
	unsaved   bool // the Accept leaves before the own vote is saved, though the name was not minted
	again     bool // it uses round 0 of a minted name in a later life
	outside   bool // it is no acceptor: its position is the one after theirs
}

// round returns the round of ballot k.
func (c *exConfig) round(k int) uint64 {
	if c.zero == exNobodys {
		return uint64(k) + 1
	}
	return uint64(max(0, k-c.strangers))
}

// instance returns the name of the instance in an Accept of ballot b.
func (c *exConfig) instance(b paxos.Ballot) string {
	owner := paxos.ServerID(c.owners[0]) + 1
	if c.anyone {
		owner = b.Server
	}
	switch c.zero {
	case exOwned:
		return paxos.Owned(owner, "x")
	case exMinted:
		return minted(owner, 1, 1, "x")
	}
	return ""
}

func (c *exConfig) ownsInstance(i int) bool { return c.zero != exNobodys && c.owners[0] == i }

// askOwned takes the steps that begin ballot b, which is of round 0.
func (m *exModel) askOwned(b int) error {
	for v := range m.values {
		rest := m.rest
		rest.asking |= 1 << b
		rest.accepts |= 1 << (b*len(m.values) + v)
		switch {
		case b > 0 || m.outside:
			if m.rest.asking>>b&1 == 0 {
				m.emitRest(exAsk.message(b*len(m.values)+v), rest)
			}
		case m.rest.dead&1 == 0:
			if err := m.askOwn(v, rest); err != nil {
				return err
			}
		}
	}
	return nil
}

// askOwn is beginOwned: the owner's acceptor has promised and accepted nothing, it votes for v, and the Accept leaves.
func (m *exModel) askOwn(v int, rest exRest) error {
	i := m.owners[0]
	s, steps, acceptor := m.servers[i], m.acceptorSteps, m.servers[i].role
	if i < m.async {
		steps, acceptor = m.saveSteps, m.volatile[s.role]
	}
	if acceptor != 0 && !m.unchecked {
		return nil
	}
	if m.holdsBack() {
		rest.accepts = m.rest.accepts // see letGo
	}
	step := steps[s.role][len(m.ballots)+v][0]
	switch {
	case m.unvoted, step.err != "" && m.agreement:
		if rest != m.rest {
			m.emitRest(exAsk.message(v), rest)
		}
		return nil
	case step.err != "":
		m.emitRest(exAsk.message(v), rest)
		return errors.New(step.err)
	}
	next, _, err := m.heard(i, step)
	m.to[m.n] = m.packRest(rest)
	if next != s || rest != m.rest {
		m.emitServer(exAsk.message(v), i, next)
	}
	m.to[m.n] = m.from[m.n]
	return err
}

// holdsBack reports whether the Accept of round 0 waits for the owner's vote to be saved.
func (m *exSpace) holdsBack() bool { return m.zero == exOwned && !m.unsaved }

// letGo sends the Accept of round 0 when server i, which owns it, becomes s and its vote is saved. To itself it says then, as
// it would to others, that it has voted.
func (m *exModel) letGo(i int, s exServer) {
	if m.ownsInstance(i) && m.holdsBack() {
		m.to[m.n] |= m.accepts.put(m.votesIn(s.sent) & (1<<len(m.values) - 1))
	}
}

// crashOwner says whether server i may use round 0 in its next life: always, if its storage does not say that it did; but a
// minted name is of one life.
func (m *exModel) crashOwner(i int, rest *exRest) {
	switch {
	case !m.ownsInstance(i):
	case m.zero == exMinted && !m.again:
		rest.dead |= 1
	default:
		rest.asking &^= 1
	}
}

// restartOutsider has an owner start again that does not vote, and so does not know what it did.
func (m *exModel) restartOutsider() {
	if rest := m.rest; m.outside && rest.crashes < uint64(m.crashes) && rest.asking&1 == 1 {
		rest.asking &^= 1
		rest.crashes++
		m.emitRest(exCrash.server(m.n), rest)
	}
}

// seenOwned returns what the loaded state is an example of. That the owner used round 0 in two lives can be told where it alone
// crashes: after a crash, only its later life asks.
func (m *exModel) seenOwned(tally *exTally) (seen uint64) {
	if m.zero == exNobodys {
		return 0
	}
	out := m.acceptsOf(0)
	if len(tally.inBallot) > 0 && tally.inBallot[0] != 0 {
		seen |= exSeenOwned
	}
	if out != 0 && tally.chosen&^out != 0 {
		seen |= exSeenOverruled
	}
	if m.rest.crashes > 0 && m.rest.asking&1 == 1 && m.rest.dead&1 == 0 && !m.outside {
		seen |= exSeenAgain
	}
	return seen
}

// ownedText tells what else the server does that asks for votes in round 0.
func (x *exSpace) ownedText(message int) string {
	switch {
	case x.zero == exNobodys || message >= len(x.values) || x.outside || x.unvoted:
		return ""
	case x.holdsBack():
		return ", when its own vote is saved"
	}
	return ", and votes"
}
