package paxos

import (
	"cmp"
	"slices"
)

// A call waits for the end of an instance.
type call struct {
	id    CallID
	seq   uint64 // rises with each call of the Replica
	op    op
	value Value
	// exposed: the value may have been handed to an acceptor or a transport. Such a call can fail and its value be
	// chosen all the same.
	exposed bool
	// since is the last round used when a Read or a Ready began: only an answer to a later question proves anything.
	since uint64
}

// longMessage is from how many bytes on a message travels alone, after those that are shorter: so that no Transport need have what is
// short wait for all that is long.
const longMessage = 64 << 10

// short reports whether c proposes a value that is not long: see flight.
func (c *call) short() bool { return c.op == opPropose && len(c.value) < longMessage }

// callers are the calls of one instance, in the order in which they came. Nothing that is done for one of them looks at all: whatever
// many of them do, and in whatever order they end, it takes time in proportion to their number.
type callers struct {
	all    []call        // with holes where calls have ended, if there are manyCalls or more: opNone
	wants  [opNone]int32 // how many of them want what
	first  int32         // no call before it proposes
	short  int32         // no call before it proposes a value that is not long
	shorts int32         // how many of them do
	values map[Value]int // how many of them propose what; nil: there were never manyCalls
}

// manyCalls is from how many calls on an instance has more than a list of them.
const manyCalls = 32

// len returns how many calls there are.
func (l *callers) len() (n int) {
	for _, w := range l.wants {
		n += int(w)
	}
	return n
}

// add adds a call, whose seq is above all others.
func (l *callers) add(c call) {
	l.all = append(l.all, c)
	l.count(&c, 1)
	if l.values == nil && len(l.all) >= manyCalls {
		l.values = map[Value]int{}
		for i := range l.all {
			l.countValue(&l.all[i], 1)
		}
	} else {
		l.countValue(&c, 1)
	}
}

// count counts a call that comes, or one that goes.
func (l *callers) count(c *call, by int32) {
	l.wants[c.op] += by
	if c.short() {
		l.shorts += by
	}
}

func (l *callers) countValue(c *call, by int) {
	if l.values == nil || c.op != opPropose {
		return
	}
	if n := l.values[c.value] + by; n > 0 {
		l.values[c.value] = n
	} else {
		delete(l.values, c.value)
	}
}

// find returns the call with that seq, which is there. It is valid until a call comes or goes.
func (l *callers) find(seq uint64) *call {
	i, _ := slices.BinarySearchFunc(l.all, seq, func(c call, seq uint64) int { return cmp.Compare(c.seq, seq) })
	return &l.all[i]
}

// remove takes out the call with that seq, which is there.
func (l *callers) remove(seq uint64) call {
	i, _ := slices.BinarySearchFunc(l.all, seq, func(c call, seq uint64) int { return cmp.Compare(c.seq, seq) })
	c := l.all[i]
	l.count(&c, -1)
	l.countValue(&c, -1)
	if len(l.all) < manyCalls {
		l.all = slices.Delete(l.all, i, i+1)
		if i < int(l.first) {
			l.first--
		}
		if i < int(l.short) {
			l.short--
		}
		return c
	}
	l.all[i] = call{op: opNone, seq: seq}
	if 2*l.len() < len(l.all) {
		l.all = slices.DeleteFunc(l.all, func(c call) bool { return c.op == opNone })
		l.first, l.short = 0, 0
	}
	return c
}

// take takes out all that match, and returns them. It looks at all.
func (l *callers) take(match func(*call) bool) (taken []call) {
	l.all = slices.DeleteFunc(l.all, func(c call) bool {
		if c.op == opNone {
			return true
		}
		if !match(&c) {
			return false
		}
		l.count(&c, -1)
		l.countValue(&c, -1)
		taken = append(taken, c)
		return true
	})
	l.first, l.short = 0, 0
	return taken
}

// clear takes out all.
func (l *callers) clear() {
	clear(l.all)
	*l = callers{all: l.all[:0]}
}

// unused returns the list of an instance without calls, for use in another. One that was long would be kept for no use.
func (l *callers) unused() callers {
	if cap(l.all) > manyCalls {
		return callers{}
	}
	return callers{all: l.all[:0]}
}

// proposes returns the first call that proposes, or nil. It is valid until a call comes or goes.
func (l *callers) proposes() *call {
	if l.wants[opPropose] == 0 {
		return nil
	}
	for l.all[l.first].op != opPropose {
		l.first++
	}
	return &l.all[l.first]
}

// proposesShort returns the first call that proposes a value that is not long, or nil. It is valid until a call comes or goes.
func (l *callers) proposesShort() *call {
	if l.shorts == 0 {
		return nil
	}
	for !l.all[l.short].short() {
		l.short++
	}
	return &l.all[l.short]
}

// offers reports whether a call proposes v.
func (l *callers) offers(v Value) bool {
	if l.values != nil {
		return l.values[v] > 0
	}
	return slices.ContainsFunc(l.all, func(c call) bool { return c.op == opPropose && c.value == v })
}

// reads reports whether a call reads.
func (l *callers) reads() bool { return l.wants[opRead] > 0 }

// asks reports whether a call needs answers of its own, whatever attempt runs.
func (l *callers) asks() bool { return l.wants[opRead]+l.wants[opReady] > 0 }
