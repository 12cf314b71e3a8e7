package paxos

import (
	"cmp"
	"slices"
	"time"
)

// maxBroken is how many proofs of a broken protocol Status shows.
const maxBroken = 16

// Status returns how the server is now.
func (r *Replica) Status(now time.Duration) Status {
	r.input(now)
	s := Status{ID: r.id, Store: r.saves.state.Store, Boot: r.saves.state.Boot, Members: r.members.String(), Calls: len(r.calls),
		Open: r.table.open + len(r.table.evicted), Index: r.saves.index, Counters: r.counters, Broken: slices.Clone(r.broken), Err: r.stop}
	s.StorageWait = r.saveWait()
	if r.quorums.lost {
		s.NoQuorum = max(r.now-r.quorums.since, 1)
	}
	s.Instances = r.oldest(1000)
	for i := range r.peers {
		p := &r.peers[i]
		heard := time.Duration(-1)
		if p.heard {
			heard = r.now - p.heardAt
		}
		s.Peers = append(s.Peers, PeerStatus{ID: p.id, Votes: p.position >= 0, Heard: heard, Store: p.store, Boot: p.boot,
			Index: p.index, Refused: p.refused, Dropped: p.dropped, Limits: p.limits})
	}
	return s
}

// oldest lists what is open, and known to be: the oldest first, at most so many.
func (r *Replica) oldest(most int) []OpenInstance {
	l := openList{most: most}
	for _, inst := range r.table.byName {
		if inst.chosen || inst.loading || inst.name == readyName {
			continue
		}
		b := inst.save.Promised
		if b.Less(inst.attempt.ballot) {
			b = inst.attempt.ballot
		}
		l.add(OpenInstance{inst.name, r.now - inst.since, b, inst.calls.len(), inst.alone})
	}
	for _, e := range r.table.evicted {
		l.add(OpenInstance{Instance: e.name, Age: r.now - e.since, Ballot: e.promised})
	}
	l.trim()
	return slices.Clip(l.all)
}

// An openList keeps the oldest of what is added to it, and few beside them: there may be a million, and all else waits for a Status.
type openList struct {
	all  []OpenInstance
	most int
	full bool // all begins with so many, the oldest first: who is younger than the last of them is none of the oldest
}

func (l *openList) add(o OpenInstance) {
	if l.full && olderFirst(o, l.all[l.most-1]) > 0 {
		return
	}
	if l.all = append(l.all, o); len(l.all) >= 2*l.most {
		l.trim()
	}
}

// trim puts what there is in order, and forgets what is more than so many.
func (l *openList) trim() {
	slices.SortFunc(l.all, olderFirst)
	l.all = l.all[:min(len(l.all), l.most)]
	l.full = len(l.all) == l.most
}

func olderFirst(a, b OpenInstance) int {
	return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.Instance, b.Instance))
}

// event notes what happened, if anybody wants to know. Where it happens often, the caller asks r.trace first: an Event is
// large.
func (r *Replica) event(e Event) {
	if !r.trace {
		return
	}
	e.At, e.Server, e.Boot = r.now, r.id, r.saves.state.Boot
	r.events = append(r.events, e)
}
