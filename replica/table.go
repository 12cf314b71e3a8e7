package replica

import (
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// A table holds the instances in memory. Of a decided instance, a memo stays. Of an undecided one that left memory, and that
// this server has to see finished, the silence stays. For their numbers see room.
type table struct {
	byName    map[string]*instance
	evicted   map[string]*evicted
	decided   memos
	recents   recents
	evictable list        // instances that may leave memory, and have no timer
	watched   list        // instances that may leave memory, and have a timer
	rooms     [rooms]int  // instances in each; roomNone is not counted
	ages      ages        // instances that are not decided, also those that left memory
	orphans   int         // those of them that are orphaned
	unlisted  bool        // an instance with a vote may be in the storage alone: it is not open, and nothing tells of it
	free      []*instance // for use again
	page      Page        // see recentPage
}

// init makes a table empty. It remembers that many durable decisions.
func (t *table) init(cache int) {
	t.byName, t.evicted = map[string]*instance{}, map[string]*evicted{}
	t.decided.init()
	t.ages.init()
	t.recents.room = uint64(cache)
}

// maxFree bounds the instances kept for use again.
const maxFree = 4096

// unused returns an empty instance.
func (t *table) unused() (inst *instance) {
	if n := len(t.free); n > 0 {
		inst, t.free = t.free[n-1], t.free[:n-1]
		return inst
	}
	return new(instance)
}

// remember makes a memo of inst, which is decided and saved.
func (t *table) remember(inst *instance, most int) {
	number := t.decided.push(inst, most)
	if at := t.recents.at(inst.index); at != nil {
		*at = number + 1
	}
}

// recent returns the memo of the decision with that Index, which is durable. It returns nil if there is no memo any more, or
// not yet.
func (t *table) recent(index uint64) *memo {
	at := t.recents.at(index)
	if at == nil || *at == 0 {
		return nil
	}
	if m := t.decided.at(*at - 1); m.index == index {
		return m
	}
	return nil // its memo has gone since
}

// recentPage is the result of List for a page of the decisions after that Index, up to Index top, if all of it is still in
// memory. Among servers that go on side by side it is, and no storage is read. The result is valid until the next call.
// ok is false if the storage is to be asked.
func (t *table) recentPage(after, top uint64, values bool) (p Page, ok bool) {
	p.Names, p.Decisions = t.page.Names[:0], t.page.Decisions[:0]
	for index := after + 1; index <= top && len(p.Names) < page.MaxLines; index++ {
		m := t.recent(index)
		if m == nil {
			clear(p.Names)
			clear(p.Decisions)
			return Page{}, false
		}
		name, decision := m.name, m.Acceptor
		if m.Promised.IsForgotten() {
			name, decision = nameLine(name), paxos.Acceptor{}
		}
		p.Names = append(p.Names, paxos.Named{Instance: name, Index: index})
		if values {
			if len(decision.Value) > page.MaxValue {
				decision = paxos.Acceptor{}
			}
			p.Decisions = append(p.Decisions, decision)
		}
	}
	t.page = p
	return p, true
}

// recents are the latest durable decisions, Limits.Cache of them. Each is the number of its memo plus one; 0: it has had none.
type recents struct {
	from uint64   // the Index of the first of this life
	next uint64   // the Index that comes next; 0: none has come
	ring []uint32 // the entry of Index i is at i - from, modulo the room
	room uint64
}

// add makes an entry for the decision with that Index, which is one above the last.
func (t *recents) add(index uint64) {
	if t.next == 0 {
		t.from = index
	}
	if at := (index - t.from) % t.room; at < uint64(len(t.ring)) {
		t.ring[at] = 0
	} else {
		t.ring = append(t.ring, 0)
	}
	t.next = index + 1
}

// at returns the entry of that Index. It returns nil if the decision is not one of the latest.
func (t *recents) at(index uint64) *uint32 {
	if index < t.from || index >= t.next || t.next-index > t.room {
		return nil
	}
	return &t.ring[(index-t.from)%t.room]
}

// opened counts inst, which has just begun, as the youngest of the open instances.
func (t *table) opened(inst *instance) {
	inst.age.inst = inst
	t.ages.push(&inst.age)
}

// closed counts inst as open no more.
func (t *table) closed(inst *instance) {
	t.orphan(inst, false)
	t.ages.remove(&inst.age)
	inst.age.inst = nil
}

// orphan notes whether a value is known to finish inst with.
func (t *table) orphan(inst *instance, yes bool) {
	if inst.orphaned != yes {
		if inst.orphaned = yes; yes {
			t.orphans++
		} else {
			t.orphans--
		}
	}
}

// open returns the number of open instances. The question of Ready is none of them.
func (t *table) open() int {
	if t.byName[readyName] != nil {
		return t.ages.len - 1
	}
	return t.ages.len
}

// oldest lists the oldest of the instances that are known to be open, at most so many. The whole server waits while it does, so it looks at
// four times as many at most. Those beyond are left out, if the storage answers so slowly that most of them are not loaded.
func (t *table) oldest(now time.Duration, most int) []paxos.OpenInstance {
	all := make([]paxos.OpenInstance, 0, min(most, t.ages.len))
	looks := 4 * most
	for a := t.ages.ends.next; a != &t.ages.ends && len(all) < most && looks > 0; a = a.next {
		looks--
		e, inst := a.evicted, a.inst
		switch {
		case e != nil:
			all = append(all, paxos.OpenInstance{Instance: e.name, Age: now - a.since, Ballot: e.promised})
		case !inst.loading && inst.name != readyName:
			b := inst.acceptor.Promised
			if b.Less(inst.attempt.Ballot()) {
				b = inst.attempt.Ballot()
			}
			all = append(all, paxos.OpenInstance{Instance: inst.name, Age: now - a.since, Ballot: b, Calls: inst.calls.len(), Orphaned: inst.orphaned})
		}
	}
	return all
}
