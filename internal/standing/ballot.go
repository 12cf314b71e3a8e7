package standing

import "github.com/singledecree/paxos"

// A Ballot is a standing ballot, at the server that stands by it. The server is an acceptor. Nothing of a Ballot is stored: it ends with
// the life of its server, and the next life never uses it. Its methods are not safe for concurrent use.
//
// Invariants: an acceptor counts with its latest Answer to exactly this ballot. Its Answer is usable when all decisions up to the Index of
// the Answer are pulled, from the same storage.
type Ballot struct {
	number paxos.Ballot
	own    int // the position of the server that stands
	quorum paxos.Quorum
	voters []voter              // by position
	usable paxos.Set            // acceptors with a usable Answer
	lists  map[string]paxos.Set // by name: the acceptors that list it
	barred map[string]struct{}
	over   bool
}

// A voter is what the server knows of one acceptor.
type voter struct {
	answered bool
	store    uint64 // that the Answer is of
	answer   Answer
	pulled   uint64 // the storage that was pulled from
	cursor   uint64 // the decisions up to this Index are pulled
	forgot   uint64 // the newest Index at which the acceptor forgot anything, as its pages tell
}

// NewBallot returns the standing ballot number of the acceptor at position own. No attempt may have used number before. The rounds up to it
// are saved before any acceptor hears of it.
func NewBallot(number paxos.Ballot, own int, q paxos.Quorum) *Ballot {
	return &Ballot{number: number, own: own, quorum: q, voters: make([]voter, q.Size()), lists: map[string]paxos.Set{}, barred: map[string]struct{}{}}
}

// Number returns the ballot.
func (b *Ballot) Number() paxos.Ballot { return b.number }

// Answered returns the acceptors that have answered.
func (b *Ballot) Answered() (s paxos.Set) {
	for i := range b.voters {
		if b.voters[i].answered {
			s = s.With(i)
		}
	}
	return s
}

// Hear takes the Answer of an acceptor for the ballot s. It replaces an earlier one. An Answer for another ballot changes nothing, and
// neither does one that does not fit: see [Answer.Fits]. store names the storage of the acceptor.
//
// The own Answer comes when the own floor is durable: see [Floor.Step].
func (b *Ballot) Hear(acceptor int, s paxos.Ballot, store uint64, a Answer) {
	if s != b.number || acceptor < 0 || acceptor >= len(b.voters) || !a.Fits() {
		return
	}
	v := &b.voters[acceptor]
	for _, name := range v.answer.Names {
		if left := b.lists[name] &^ paxos.Set(0).With(acceptor); left != 0 {
			b.lists[name] = left
		} else {
			delete(b.lists, name)
		}
	}
	v.answered, v.store, v.answer = true, store, a
	for _, name := range a.Names {
		b.lists[name] = b.lists[name].With(acceptor)
	}
	b.judge(acceptor)
}

// Pulled notes that all decisions of an acceptor up to the Index cursor are known here, from that storage. Pages also tell
// the newest Index at which the acceptor has forgotten anything: forgot. A forgotten name leaves the Index that it had, so the cursor has
// to reach the new one, too.
func (b *Ballot) Pulled(acceptor int, store, cursor, forgot uint64) {
	if acceptor < 0 || acceptor >= len(b.voters) {
		return
	}
	v := &b.voters[acceptor]
	if v.pulled != store {
		v.forgot = 0
	}
	v.pulled, v.cursor, v.forgot = store, cursor, max(v.forgot, forgot)
	b.judge(acceptor)
}

// judge finds out whether the Answer of an acceptor is usable. The own server knows all that its own acceptor knows.
func (b *Ballot) judge(acceptor int) {
	v := &b.voters[acceptor]
	b.usable &^= paxos.Set(0).With(acceptor)
	caughtUp := v.answer.Index == 0 && v.pulled != v.store || v.pulled == v.store && v.cursor >= max(v.answer.Index, v.forgot)
	if v.answered && (acceptor == b.own || caughtUp) {
		b.usable = b.usable.With(acceptor)
	}
}

// Bar notes that a pull has passed over the decision of that name, or that its instance has stopped. The ballot is not used for it. With
// more than [MaxNames] of them the ballot is over.
func (b *Ballot) Bar(name string) {
	if len(b.barred) == MaxNames {
		b.End()
		return
	}
	b.barred[name] = struct{}{}
}

// MayUse reports whether an attempt for that name may begin in this ballot, with the Accept. It needs all of these:
//
//   - The name has no record here: e, the Entry of this server as of now, is zero.
//   - This server has promised exactly this ballot for the name. f is its own floor as of now.
//   - The usable answers that do not list the name are of a phase-1 quorum.
//   - The name is not barred.
//
// The acceptor of this server votes in the same Step. So the record is not zero any more, and the ballot gets no second value.
func (b *Ballot) MayUse(name string, e Entry, f *paxos.Floor) bool {
	if b.over || e != (Entry{}) || f.Promised(name) != b.number {
		return false
	}
	if _, ok := b.barred[name]; ok {
		return false
	}
	return b.quorum.Phase1(b.usable &^ b.lists[name])
}

// End ends the ballot: it is used for no name any more. Attempts in it go on.
func (b *Ballot) End() { b.over = true }

// IsOver reports whether the ballot can be used for no name any more. f is the own floor: a higher standing ballot or a later configuration
// ends this one.
func (b *Ballot) IsOver(f *paxos.Floor) bool {
	return b.over || b.number.Less(f.Standing()) || b.number.Less(paxos.Base(f.Configuration()))
}
