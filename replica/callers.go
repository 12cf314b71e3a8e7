package replica

import (
	"cmp"
	"math"
	"slices"

	"github.com/singledecree/paxos"
)

// A call waits for the end of an instance.
type call struct {
	id    CallID
	seq   uint64 // rises with each call of the Replica
	op    op
	value paxos.Value
	// exposed: an acceptor or a transport may have the value. If such a call fails, its value can be
	// chosen all the same.
	exposed bool
	// since is the last round used when a Read or a Ready began: only an answer to a later question proves anything.
	since uint64
}

// isForget reports whether c asks to forget its instance.
func isForget(c *call) bool { return c.op == opForget }

// longMessage is the size from which a message is long. A long message has a packet of its own, after the short messages. So
// no Transport makes a short message wait for all the long ones.
const longMessage = 64 << 10

// callers are the calls of one instance, in the order in which they came. Work for one call never looks at all of them. So
// many calls take time in proportion to their number, in whatever order they end.
type callers struct {
	all   []call // with holes where calls of a crowd have ended: opNone
	crowd *crowd // nil: there were never manyCalls
}

// manyCalls is the number of calls from which an instance has a crowd beside the list of them.
const manyCalls = 32

// A crowd knows of many calls what a look at each of them would tell.
type crowd struct {
	wants  [opNone]int         // how many calls there are of each op
	first  int                 // no call before it proposes
	short  int                 // no call before it proposes a value that is not long
	values map[paxos.Value]int // how many calls propose each value
}

// count counts a call: by is 1 if it comes, and -1 if it goes.
func (w *crowd) count(c *call, by int) {
	w.wants[c.op] += by
	if c.op != opPropose {
		return
	}
	if n := w.values[c.value] + by; n > 0 {
		w.values[c.value] = n
	} else {
		delete(w.values, c.value)
	}
}

// len returns how many calls there are.
func (l *callers) len() (n int) {
	if l.crowd == nil {
		return len(l.all)
	}
	for _, w := range l.crowd.wants {
		n += w
	}
	return n
}

// add adds a call. Its seq is above those of all others.
func (l *callers) add(c call) {
	l.all = append(l.all, c)
	l.added(c)
}

// insert adds a call that forgets the instance. Its seq may be below those of others.
func (l *callers) insert(c call) {
	l.all = slices.Insert(l.all, l.place(c.seq), c)
	l.added(c)
}

// added counts a call that has come.
func (l *callers) added(c call) {
	switch {
	case l.crowd != nil:
		l.crowd.count(&c, 1)
	case len(l.all) >= manyCalls:
		l.crowd = &crowd{values: map[paxos.Value]int{}}
		for i := range l.all {
			l.crowd.count(&l.all[i], 1)
		}
	}
}

// find returns the call with that seq, which is in the list. It is valid until a call comes or goes.
func (l *callers) find(seq uint64) *call { return &l.all[l.place(seq)] }

func (l *callers) place(seq uint64) int {
	i, _ := slices.BinarySearchFunc(l.all, seq, func(c call, seq uint64) int { return cmp.Compare(c.seq, seq) })
	return i
}

// remove takes out the call with that seq, which is in the list.
func (l *callers) remove(seq uint64) call {
	i := l.place(seq)
	c := l.all[i]
	if l.crowd == nil {
		l.all = slices.Delete(l.all, i, i+1)
		return c
	}
	l.crowd.count(&c, -1)
	l.all[i] = call{op: opNone, seq: seq}
	if 2*l.len() < len(l.all) {
		l.all = slices.DeleteFunc(l.all, func(c call) bool { return c.op == opNone })
		l.shrunk()
	}
	return c
}

// take takes out all calls that match, and returns them. It looks at all calls.
func (l *callers) take(match func(*call) bool) (taken []call) {
	l.all = slices.DeleteFunc(l.all, func(c call) bool {
		if c.op == opNone {
			return true
		}
		if !match(&c) {
			return false
		}
		if l.crowd != nil {
			l.crowd.count(&c, -1)
		}
		taken = append(taken, c)
		return true
	})
	l.shrunk()
	return taken
}

// shrunk is called when calls have moved to the front.
func (l *callers) shrunk() {
	if l.crowd == nil {
		return
	}
	l.crowd.first, l.crowd.short = 0, 0
	if len(l.all) == 0 {
		l.crowd = nil
	}
}

// clear takes out all calls.
func (l *callers) clear() {
	clear(l.all)
	*l = callers{all: l.all[:0]}
}

// unused returns the list of an instance without calls, for use in another. A long list is not used again.
func (l *callers) unused() callers {
	if cap(l.all) > manyCalls {
		return callers{}
	}
	return callers{all: l.all[:0]}
}

// proposes returns the first call that proposes, or nil. It is valid until a call comes or goes.
func (l *callers) proposes() *call {
	if l.crowd != nil {
		return l.from(&l.crowd.first, math.MaxInt)
	}
	return l.from(new(int), math.MaxInt)
}

// proposesShort returns the first call that proposes a value that is not long, or nil. It is valid until a call comes or goes.
func (l *callers) proposesShort() *call {
	if l.crowd != nil {
		return l.from(&l.crowd.short, longMessage)
	}
	return l.from(new(int), longMessage)
}

// from returns the first call that proposes a value below so many bytes, or nil. No such call stands before at; at moves to
// the result.
func (l *callers) from(at *int, bytes int) *call {
	for ; *at < len(l.all); *at++ {
		if c := &l.all[*at]; c.op == opPropose && len(c.value) < bytes {
			return c
		}
	}
	return nil
}

// offers reports whether a call proposes v.
func (l *callers) offers(v paxos.Value) bool {
	if l.crowd != nil {
		return l.crowd.values[v] > 0
	}
	return slices.ContainsFunc(l.all, func(c call) bool { return c.op == opPropose && c.value == v })
}

// reads reports whether a call reads.
func (l *callers) reads() bool { return l.want(opRead) }

// asks reports whether a call needs answers of its own, whatever attempt runs.
func (l *callers) asks() bool { return l.want(opRead) || l.want(opReady) }

// want reports whether there is a call with that op.
func (l *callers) want(o op) bool {
	if l.crowd != nil {
		return l.crowd.wants[o] > 0
	}
	for i := range l.all {
		if l.all[i].op == o {
			return true
		}
	}
	return false
}

// maxHints bounds the bytes of the hints that a server keeps. A hint beyond it is not kept, as if it had been too large.
const maxHints = 64 << 20

// A hint is the value that the proposer of the highest ballot prepared here wants. A server that has to finish the instance,
// with nothing accepted, proposes it (S12). It is never a vote, and is lost with the memory.
type hint struct {
	value  paxos.Value // empty: there is no hint
	ballot paxos.Ballot
}

// wanted returns the value; empty: there is no hint.
func (h *hint) wanted() paxos.Value { return h.value }

// of returns the ballot whose proposer wanted it; zero: there is no hint.
func (h *hint) of() paxos.Ballot { return h.ballot }

// hints counts the bytes of all hints that a server keeps.
type hints struct{ bytes int }

// keep makes v, which the proposer of ballot b wants, the hint h. It reports whether it did.
func (c *hints) keep(h *hint, b paxos.Ballot, v paxos.Value) bool {
	if v == "" || !h.ballot.Less(b) || c.bytes-len(h.value)+len(v) > maxHints {
		return false
	}
	c.bytes += len(v) - len(h.value)
	h.value, h.ballot = v, b
	return true
}

// drop empties h.
func (c *hints) drop(h *hint) {
	c.bytes -= len(h.value)
	*h = hint{}
}
