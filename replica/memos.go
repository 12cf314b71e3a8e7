package replica

import (
	"hash/maphash"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
	"github.com/singledecree/paxos/internal/tables"
)

// A memo is the rest in memory of an instance that is decided and saved, and of which nothing more is expected. It answers
// late questions.
type memo struct {
	name           string // empty: it was taken out
	hash           uint64
	paxos.Acceptor // Value was chosen, in Accepted as far as this server knows
	index          uint64
	pendingNotices
}

func (m *memo) decision() paxos.Decision {
	return paxos.Decision{Instance: m.name, Value: m.Value, Ballot: m.Accepted}
}

// memos holds the memos of the latest decisions, in a ring: at most Limits.Cache of them. Two or more of them have at most
// maxCacheBytes of values.
//
// It is apart from the instances that are worked on. These are few and used again at once, so both stay in the processor's
// caches.
type memos struct {
	seed  maphash.Seed
	names tables.Names
	ring  []memo // the memo with number n is at n modulo len, which is a power of two
	next  uint32 // the number of the next memo, modulo memoNumbers
	held  uint32 // how many numbers before next are in the ring, Limits.Cache at most
	len   int    // memos in it
	bytes int    // of their values
	late  int    // how many memos have pendingNotices

	hashes []uint64 // hashes of the names that were expected last
}

// memoNumbers is the bound at which the numbers of memos begin anew. tables.Names needs numbers below 1<<32 - 1.
const memoNumbers = 1 << 31

// maxCacheBytes bounds the values of the decisions in memory.
const maxCacheBytes = 64 << 20

// init draws the seed of the hash by chance, so that nobody can choose names that share a place. No output depends on the
// seed. The table finds names, and is never gone through in its order (paxostest.TestChaosRepeats).
func (t *memos) init() { t.seed = maphash.MakeSeed() }

func (t *memos) at(number uint32) *memo { return &t.ring[number&uint32(len(t.ring)-1)] }

// find returns the memo of that name, valid until the next push; nil: there is none.
func (t *memos) find(name string) *memo {
	if t.len == 0 {
		return nil
	}
	number, ok := t.names.Find(maphash.String(t.seed, name), func(number uint32) bool { return t.at(number).name == name })
	if !ok {
		return nil
	}
	return t.at(number)
}

// expect is called with a page whose names are about to be found: see tables.Names.FetchAll.
func (t *memos) expect(lines []page.Line) {
	t.hashes = t.hashes[:0]
	for i := range lines {
		t.hashes = append(t.hashes, maphash.String(t.seed, lines[i].Name))
	}
	t.names.FetchAll(t.hashes)
}

// push remembers inst, whose name has no memo, and returns the number of the new memo. The oldest memos go if room is
// needed.
func (t *memos) push(inst *instance, most int) (number uint32) {
	for t.held > 0 && (int(t.held) >= most || t.bytes+len(inst.acceptor.Value) > maxCacheBytes) {
		t.forget(t.first())
	}
	if int(t.held) == len(t.ring) {
		t.grow()
	}
	number = t.next
	m := t.at(number)
	*m = memo{inst.name, maphash.String(t.seed, inst.name), inst.acceptor.Acceptor, inst.index, inst.pendingNotices}
	t.names.Add(m.hash, number)
	t.next, t.held = (number+1)%memoNumbers, t.held+1
	t.len++
	t.bytes += len(m.Value)
	if m.pendingNotices != (pendingNotices{}) {
		t.late++
	}
	return number
}

// first is the number of the oldest memo.
func (t *memos) first() uint32 { return (t.next - t.held) % memoNumbers }

// forget takes out the memo with that number. If it is not the oldest, a gap remains until it is.
func (t *memos) forget(number uint32) {
	if m := t.at(number); m.name != "" {
		t.names.Remove(m.hash, number)
		t.len--
		t.bytes -= len(m.Value)
		if m.pendingNotices != (pendingNotices{}) {
			t.late--
		}
		*m = memo{}
	}
	for t.held > 0 && t.at(t.first()).name == "" {
		t.held--
	}
}

// remove takes out m, which find returned.
func (t *memos) remove(m *memo) {
	number, _ := t.names.Find(m.hash, func(number uint32) bool { return t.at(number) == m })
	t.forget(number)
}

// forgetAll takes out the memos of the instances in a range of names.
func (t *memos) forgetAll(names paxos.NameRange) {
	for number, n := t.first(), t.held; n > 0; number, n = (number+1)%memoNumbers, n-1 {
		if m := t.at(number); m.name != "" && names.Has(m.name) {
			t.forget(number)
		}
	}
}

// forgetNotices takes out all pendingNotices. Positions have changed, and the acceptors find out by themselves.
func (t *memos) forgetNotices() {
	for i := range t.ring {
		t.ring[i].pendingNotices = pendingNotices{}
	}
	t.late = 0
}

// many returns most, or half of the memos if these are fewer and their values are large. Fewer memos fit then.
func (t *memos) many(most int) int {
	if t.bytes > maxCacheBytes/2 {
		most = min(most, max(t.len/2, 1))
	}
	return most
}

// lateVoter returns the memo that m, an answer of the acceptor at that position, is about. It returns nil if that acceptor is
// not to hear of the decision now.
func (t *memos) lateVoter(position int, m *paxos.Message) *memo {
	if t.late == 0 {
		return nil
	}
	known := t.find(m.Instance)
	if known == nil || known.pendingNotices == (pendingNotices{}) || !known.due(position, m) {
		return nil
	}
	if known.pendingNotices == (pendingNotices{}) {
		t.late--
	}
	return known
}

// grow doubles the ring.
func (t *memos) grow() {
	old := *t
	t.ring = make([]memo, max(16, 2*len(old.ring)))
	for i := range old.held {
		number := (old.first() + i) % memoNumbers
		*t.at(number) = *old.at(number)
	}
}
