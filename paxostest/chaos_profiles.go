package paxostest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// hasProfile reports whether a seed has one of the profiles, in which a change of members meets one other trouble. Such a seed has no
// other change, and no other lost disk.
func (d *drawing) hasProfile() bool { return d.Seed%10 == 5 }

// A profile draws a change of members, and another trouble beside it. It lasts from a time on, and returns when it is over.
type profile struct {
	*drawing
	now    []paxos.ServerID // the acceptors
	others []paxos.ServerID // the learners, from which new acceptors come
	step   time.Duration    // in which a change goes on a good deal
}

// drawProfile draws one of the profiles in each seed that has one. It has random numbers of its own.
func (d *drawing) drawProfile() {
	if !d.hasProfile() {
		return
	}
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0x9f0f))
	total := d.Servers + d.Learners
	d.Servers, d.Quorum = 3, nil
	if total > 5 && d.some(3) {
		d.Servers = 5
	}
	d.Learners = max(total-d.Servers, 2)
	d.Loss = min(d.Loss, 0.1)
	p := &profile{drawing: d, step: 2*d.Delay + 2*d.SaveTime + 2*ms}
	for id := paxos.ServerID(1); int(id) <= d.Servers+d.Learners; id++ {
		if int(id) <= d.Servers {
			p.now = append(p.now, id)
		} else {
			p.others = append(p.others, id)
		}
	}
	at := d.between(0, d.Ends/2)
	draws := []func(time.Duration) time.Duration{p.lost, p.away, p.lostSource, p.together, p.apart, p.forgotApart}
	ends := draws[d.IntN(len(draws))](at)
	d.Ends = max(d.Ends, ends)
}

// calls draws calls of all kinds beside a change.
func (p *profile) calls(at, lasts time.Duration) {
	for range 2 + p.IntN(6) {
		a := Action{At: at + p.between(0, lasts), Act: []Act{ActPropose, ActPropose, ActRead, ActWait}[p.IntN(4)], Server: p.id(), Instance: p.names[p.IntN(len(p.names))]}
		if a.Act == ActPropose {
			a.Value = p.values[p.IntN(len(p.values))]
		}
		p.do(a)
	}
}

// to returns members with those acceptors. All other servers are learners, except some.
func (p *profile) to(acceptors ...paxos.ServerID) (m paxos.Members) {
	m.Acceptors = slices.Sorted(slices.Values(acceptors))
	for id := paxos.ServerID(1); int(id) <= p.Servers+p.Learners; id++ {
		if !slices.Contains(m.Acceptors, id) && !p.some(3) {
			m.Learners = append(m.Learners, id)
		}
	}
	return m
}

// without returns the acceptors without one of them.
func (p *profile) without(id paxos.ServerID) []paxos.ServerID {
	return slices.DeleteFunc(slices.Clone(p.now), func(other paxos.ServerID) bool { return other == id })
}

// pick draws one of some servers.
func (p *profile) pick(from []paxos.ServerID) paxos.ServerID { return from[p.IntN(len(from))] }

// change has a server ask for the next members, and others ask again, in case it can't.
func (p *profile) change(at time.Duration, next paxos.Members, by []paxos.ServerID) (over time.Duration) {
	for range 1 + p.IntN(3) {
		p.do(Action{At: at, Act: ActChange, Server: p.pick(by), Members: next})
		at += 3*p.step + p.between(0, 6*p.step)
	}
	if p.some(2) {
		p.do(Action{At: at, Act: ActSettled, Server: p.pick(by)})
	}
	return at + 3*p.step
}

// lost replaces a server whose disk is lost: before the change, or while it goes on.
func (p *profile) lost(at time.Duration) time.Duration {
	victim, fresh := p.pick(p.now), p.pick(p.others)
	rest := p.without(victim)
	over := p.change(at, p.to(append(slices.Clone(rest), fresh)...), rest)
	gone := at + p.between(0, 6*p.step)
	if p.some(2) {
		gone = max(at-p.between(0, 6*p.step), 0)
	}
	p.calls(gone, over-gone+1)
	p.do(Action{At: gone, Act: ActCrash, Server: victim})
	p.do(Action{At: gone, Act: ActWipe, Server: victim})
	for range 1 + p.IntN(3) {
		gone += p.between(0, 10*p.step)
		p.do(Action{At: gone, Act: ActRestart, Server: victim})
		p.do(Action{At: gone + p.between(0, p.step), Act: ActPropose, Server: victim, Instance: p.names[0], Value: p.values[0]})
	}
	return max(over, gone)
}

// away has a server down, or cut off, while the members change three times.
func (p *profile) away(at time.Duration) time.Duration {
	gone := p.id()
	var rest []paxos.ServerID
	for id := paxos.ServerID(1); int(id) <= p.Servers+p.Learners; id++ {
		if id != gone {
			rest = append(rest, id)
		}
	}
	begins, cut := at, p.some(2)
	for range 3 {
		p.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		next := slices.Clone(rest[:3])
		if p.some(3) {
			next = append(next, gone)
		}
		m := p.to(next...)
		at = max(p.change(at+1, m, rest), p.change(at+3*p.step, m, rest)) + 3*p.step + p.between(0, p.Timing.Phase)
		p.calls(at-6*p.step, 6*p.step)
	}
	p.Actions = slices.DeleteFunc(p.Actions, func(a Action) bool {
		return a.At >= begins && a.At < at && (a.Act == ActRestart && a.Server == gone || a.Act == ActJoin && (a.Server == gone || a.Peer == gone))
	})
	if !cut {
		p.do(Action{At: begins, Act: ActCrash, Server: gone})
		p.do(Action{At: at, Act: ActRestart, Server: gone})
	}
	for _, id := range rest {
		if cut {
			p.cut(begins, at-begins, gone, id)
			p.cut(begins, at-begins, id, gone)
		}
	}
	for range 2 {
		p.do(Action{At: at + p.between(0, p.step), Act: []Act{ActPropose, ActRead, ActWait}[p.IntN(3)], Server: gone, Instance: p.names[p.IntN(len(p.names))]})
	}
	return at + 2*p.step
}

// cut cuts one link in one direction for a while.
func (p *profile) cut(at, lasts time.Duration, from, to paxos.ServerID) {
	p.do(Action{At: at, Act: ActCut, Server: from, Peer: to})
	p.do(Action{At: at + lasts, Act: ActJoin, Server: from, Peer: to})
}

// lostSource makes an acceptor lose its disk when others have begun to take over what it remembers.
func (p *profile) lostSource(at time.Duration) time.Duration {
	victim := p.pick(p.now)
	rest := p.without(victim)
	next := append(slices.Clone(p.others[:1+p.IntN(2)]), rest[:1+p.IntN(len(rest))]...)
	for len(next) < 3 {
		next = slices.Compact(slices.Sorted(slices.Values(append(next, p.pick(append(rest, p.others...))))))
	}
	for i := range 8 { // something to take over
		p.do(Action{At: at - p.between(0, min(at, 4*p.step)+1), Act: ActPropose, Server: p.id(), Instance: fmt.Sprint("before/", i), Value: p.values[p.IntN(len(p.values))]})
	}
	over := p.change(at, p.to(next...), rest)
	p.do(Action{At: at, Act: ActLoseSource, Server: victim, For: p.between(0, 10*p.step)})
	p.calls(at, over-at+1)
	return over + 6*p.step
}

// together has two servers ask for different changes at once. Servers crash in the middle of the Save of a seal, and of an import.
func (p *profile) together(at time.Duration) time.Duration {
	first, second := p.pick(p.now), p.id()
	for second == first {
		second = p.id()
	}
	over := p.change(at+2*p.step, p.to(append(p.without(p.pick(p.now)), p.others[0])...), p.now)
	p.do(Action{At: at, Act: ActChange, Server: first, Members: p.to(append(p.without(p.pick(p.now)), p.others[0])...)})
	p.do(Action{At: at + p.between(0, p.step), Act: ActChange, Server: second, Members: p.to(append(p.without(p.pick(p.now)), p.others[1])...)})
	for id := paxos.ServerID(1); int(id) <= p.Servers+p.Learners; id++ {
		if p.some(2) {
			p.do(Action{At: at, Act: ActCrashSeal, Server: id, Kept: p.some(2), For: p.between(0, 10*p.step)})
		}
		if p.some(2) {
			p.do(Action{At: at, Act: ActCrashImport, Server: id, Kept: p.some(2), For: p.between(0, 10*p.step)})
		}
	}
	p.calls(at, over-at+1)
	return over + 10*p.step
}

// apart cuts the network in two in one of a few ways, each of which leaves some servers with half of a change.
func (p *profile) apart(at time.Duration) time.Duration {
	asker, stays := p.pick(p.now), p.IntN(len(p.now))
	fresh := p.others[:1+p.IntN(2)]
	next := append(slices.Clone(fresh), p.now[len(fresh)-1:]...)
	over := p.change(at, p.to(next...), []paxos.ServerID{asker})
	from, lasts, shape, side := at+p.between(p.step, 8*p.step), p.between(4*p.step, 40*p.step), p.IntN(5), p.Uint64()
	isNew := func(id paxos.ServerID) bool { return slices.Contains(fresh, id) }
	isOld := func(id paxos.ServerID) bool { return int(id) <= p.Servers }
	for a := paxos.ServerID(1); int(a) <= p.Servers+p.Learners; a++ {
		for b := paxos.ServerID(1); int(b) <= p.Servers+p.Learners; b++ {
			cut := false
			switch shape {
			case 0: // the asker from one half, both ways
				cut = a == asker && side>>b&1 == 0 || b == asker && side>>a&1 == 0
			case 1: // the new servers hear from one old server alone
				cut = isNew(b) && isOld(a) && a != p.now[stays]
			case 2: // those that come from those that leave
				cut = isNew(a) && !slices.Contains(next, b) || isNew(b) && !slices.Contains(next, a)
			case 3: // the asker from all
				cut = a == asker || b == asker
			default: // nobody hears from the new servers
				cut = isNew(a)
			}
			if cut && a != b {
				p.cut(from, lasts, a, b)
			}
		}
	}
	p.calls(at, from+lasts-at)
	return max(over, from+lasts) + 2*p.step
}

// forgotApart makes names be forgotten by a minority that is cut off, while the members change. Packets come late, out of earlier lives of
// their senders, about those names.
func (p *profile) forgotApart(at time.Duration) time.Duration {
	alone, name := p.pick(p.now), p.names[p.IntN(len(p.names))]
	rest := p.without(alone)
	p.Late, p.Twice, p.Later = max(p.Late, 0.3), max(p.Twice, 0.1), max(p.Later, 20*p.step)
	for range 2 + p.IntN(3) {
		p.do(Action{At: at + p.between(0, 2*p.step), Act: []Act{ActPropose, ActPropose, ActRead}[p.IntN(3)], Server: p.id(), Instance: name})
	}
	names := []paxos.NameRange{paxos.OneName(name), paxos.Prefix("job/"), paxos.Prefix("")}[p.IntN(3)]
	forgets := at + p.between(2*p.step, 4*p.step)
	for id := paxos.ServerID(1); int(id) <= p.Servers+p.Learners; id++ {
		if id != alone {
			p.cut(forgets, 8*p.step, alone, id)
		}
	}
	p.do(Action{At: forgets, Act: ActForget, Server: alone, Names: names})
	over := p.change(forgets+p.between(0, 4*p.step), p.to(append(p.without(p.pick(p.now)), p.others[0])...), rest)
	again := forgets + p.between(0, 12*p.step)
	if p.some(2) {
		p.do(Action{At: again, Act: ActForget, Server: p.pick(rest), Names: names})
	}
	for range 1 + p.IntN(3) {
		id := p.id()
		p.do(Action{At: again, Act: ActCrash, Server: id})
		p.do(Action{At: again + p.between(0, 4*p.step), Act: ActRestart, Server: id})
		again += p.between(0, 8*p.step)
	}
	for range 3 {
		p.do(Action{At: forgets + p.between(0, 20*p.step), Act: []Act{ActPropose, ActRead, ActWait}[p.IntN(3)], Server: p.id(), Instance: name})
	}
	return max(over, again) + 6*p.step
}
