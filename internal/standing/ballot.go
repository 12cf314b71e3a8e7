package standing

import "github.com/singledecree/paxos"

// A Ballot is a standing ballot, at the server that stands by it. The server is an acceptor. Nothing of a Ballot is stored: it ends with
// the life of its server, and the next life never uses it. Its methods are not safe for concurrent use.
//
// Invariants: an acceptor counts with its first Answer to exactly this ballot. Its Answer is usable when all is known here that the acceptor
// had decided or forgotten when it promised, by pulls from the same storage: see [Ballot.Pulled].
type Ballot struct {
	number paxos.Ballot
	own    int // the position of the server that stands
	quorum paxos.Quorum
	voters []voter              // by position
	usable paxos.Set            // acceptors with a usable Answer
	ready  bool                 // they are a phase-1 quorum
	lists  map[string]paxos.Set // by name: the acceptors that list it
}

// A voter is what the server knows of one acceptor.
type voter struct {
	answered bool
	store    uint64 // that the Answer is of
	answer   Answer
	pulled   uint64 // the storage that was pulled from
	cursor   uint64 // the decisions up to this Index are pulled
	target   uint64 // the cursor that makes the Answer usable; before there is an Answer, all that pages have told of forgetting
	lacks    bool   // something was passed over before the Answer was usable: see Lacks
}

// A Page is one page of the pull from an acceptor: all its decisions from one Index to another are known here.
type Page struct {
	Store    uint64 // the storage of the acceptor
	From, To uint64 // the decisions above From, up to To
	Forgot   uint64 // the last Index at which the acceptor had forgotten a name or a range when it read the page, or one above it
	Merged   uint64 // likewise, a range
}

// NewBallot returns the standing ballot number of the acceptor at position own. No attempt may have used number before. The rounds up to it
// are saved before any acceptor hears of it.
func NewBallot(number paxos.Ballot, own int, q paxos.Quorum) *Ballot {
	return &Ballot{number: number, own: own, quorum: q, voters: make([]voter, q.Size()), lists: map[string]paxos.Set{}}
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

// Hear takes the Answer of an acceptor for the ballot s. The first one counts: pages that came since may lack what a later one does not
// list. An Answer for another ballot changes nothing, and neither does one that does not fit: see [Answer.Fits]. store names the storage
// of the acceptor.
//
// The own Answer comes when the own floor is durable: see [Floor.Step].
func (b *Ballot) Hear(acceptor int, s paxos.Ballot, store uint64, a Answer) {
	if s != b.number || acceptor < 0 || acceptor >= len(b.voters) || !a.Fits() {
		return
	}
	v := &b.voters[acceptor]
	if v.answered {
		return
	}
	if v.pulled != store {
		v.pulled, v.cursor, v.target = store, 0, 0
	}
	v.answered, v.store, v.answer, v.target = true, store, a, max(v.target, a.Index)
	for _, name := range a.Names {
		b.lists[name] = b.lists[name].With(acceptor)
	}
	b.judge(acceptor)
}

// Pulled notes that a page of an acceptor has been read.
//
// A forgotten name leaves the Index that it had, for a higher one. So a page of Indexes up to that of the Answer may lack a name that was
// forgotten meanwhile. The cursor has to reach that Index, too. A page beyond lacks such a name only if a range has taken its place.
//
// Once the Answer is usable, it stays so. Then all is known that the acceptor knew when it promised.
func (b *Ballot) Pulled(acceptor int, p Page) {
	if acceptor < 0 || acceptor >= len(b.voters) {
		return
	}
	v := &b.voters[acceptor]
	if v.pulled != p.Store {
		if v.answered {
			return
		}
		v.pulled, v.cursor, v.target = p.Store, 0, 0
	}
	v.cursor = max(v.cursor, p.To)
	switch {
	case !v.answered || p.From < v.answer.Index:
		v.target = max(v.target, p.Forgot, p.Merged)
	case p.From < v.target:
		v.target = max(v.target, p.Merged)
	}
	b.judge(acceptor)
}

// Lacks notes that a pull from the acceptor has passed over something that this server could not take: a decision, or forgotten names. If
// its Answer is not usable yet, it never will be.
func (b *Ballot) Lacks(acceptor int) {
	if acceptor >= 0 && acceptor < len(b.voters) && !b.usable.Has(acceptor) {
		b.voters[acceptor].lacks = true
	}
}

// Lags reports whether the Answer of the acceptor waits for decisions that are to be pulled.
func (b *Ballot) Lags(acceptor int) bool {
	return acceptor >= 0 && acceptor < len(b.voters) && b.voters[acceptor].answered && !b.voters[acceptor].lacks && !b.usable.Has(acceptor)
}

// judge finds out whether the Answer of an acceptor is usable now. The own server knows all that its own acceptor knows.
func (b *Ballot) judge(acceptor int) {
	v := &b.voters[acceptor]
	caughtUp := v.pulled == v.store && v.cursor >= v.target
	if v.answered && (acceptor == b.own || caughtUp && !v.lacks) {
		b.usable = b.usable.With(acceptor)
	}
	b.ready = b.quorum.Phase1(b.usable)
}

// MayUse reports whether an attempt for that name may begin in this ballot, with the Accept. It needs all of these:
//
//   - The name has no record here: e, the Entry of this server as of now, is zero.
//   - This server has promised exactly this ballot for the name. f is its own floor as of now.
//   - The usable answers that do not list the name are of a phase-1 quorum.
//
// The acceptor of this server votes in the same Step. So the record is not zero any more, and the ballot gets no second value.
func (b *Ballot) MayUse(name string, e Entry, f *paxos.Floor) bool {
	if !b.ready || e != (Entry{}) || f.Promised(name) != b.number {
		return false
	}
	if len(b.lists) == 0 { // as after a while without calls
		return true
	}
	return b.quorum.Phase1(b.usable &^ b.lists[name])
}

// IsReady reports whether a phase-1 quorum has a usable Answer.
func (b *Ballot) IsReady() bool { return b.ready }
