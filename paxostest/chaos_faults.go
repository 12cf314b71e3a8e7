package paxostest

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// drawFaults chooses the kinds of faults of this seed.
func (d *drawing) drawFaults() {
	if d.some(2) {
		d.crashes()
	}
	if d.some(3) {
		d.cuts()
	}
	if d.some(4) {
		d.pauses()
	}
	if d.some(4) {
		d.disks()
	}
	if d.Seed%10 == 9 {
		d.Forges = true
		d.lies()
	}
	if d.some(8) {
		d.strangers()
	}
}

// crashes draws crashes at any time, and often right after a call, when there is something to lose.
func (d *drawing) crashes() {
	times := []time.Duration{}
	for range 1 + d.IntN(4) {
		times = append(times, d.when())
	}
	if d.some(2) {
		for _, a := range d.Actions {
			if d.some(2) {
				times = append(times, a.At+time.Duration(d.Float64()*float64(5*d.Delay+3*d.SaveTime)))
			}
		}
	}
	all := d.some(5) // all servers lose power
	for _, at := range times {
		act := ActCrash
		if d.some(3) {
			act = ActCrashSaved
		}
		victim, back := d.id(), d.between(0, 300*ms)
		for id := paxos.ServerID(1); int(id) <= d.Servers+d.Learners; id++ {
			if all || id == victim {
				d.do(Action{At: at, Act: act, Server: id})
				d.do(Action{At: at + back, Act: ActRestart, Server: id})
			}
		}
	}
}

// cuts draws partitions: full ones, deaf or mute servers, single links, and cuts that come and go.
func (d *drawing) cuts() {
	n := paxos.ServerID(d.Servers + d.Learners)
	for range 1 + d.IntN(3) {
		from, lasts := d.when(), d.between(ms, 400*ms)
		var side uint64 = d.Uint64()
		victim, other, kind := d.id(), d.id(), d.IntN(5)
		cut := func(a, b paxos.ServerID) bool {
			switch kind {
			case 0:
				return side>>a&1 != side>>b&1 // two sides
			case 1:
				return b == victim // deaf
			case 2:
				return a == victim // mute
			case 3:
				return a == victim && b == other || a == other && b == victim // one link
			}
			return a == victim && b == other // one way
		}
		times := 1
		if d.some(4) {
			times = 2 + d.IntN(4) // it flaps
		}
		for i := range times {
			for a := paxos.ServerID(1); a <= n; a++ {
				for b := paxos.ServerID(1); b <= n; b++ {
					if a != b && cut(a, b) {
						at := from + time.Duration(2*i)*lasts
						d.do(Action{At: at, Act: ActCut, Server: a, Peer: b})
						d.do(Action{At: at + lasts, Act: ActJoin, Server: a, Peer: b})
					}
				}
			}
		}
	}
}

func (d *drawing) pauses() {
	for range 1 + d.IntN(3) {
		at, id := d.when(), d.id()
		d.do(Action{At: at, Act: ActPause, Server: id})
		d.do(Action{At: at + d.between(ms, 500*ms), Act: ActResume, Server: id})
	}
}

func (d *drawing) disks() {
	for range 1 + d.IntN(3) {
		at, id := d.when(), d.id()
		switch d.IntN(5) {
		case 0:
			d.do(Action{At: at, Act: ActFailSave, Server: id})
			d.do(Action{At: at + d.between(ms, 300*ms), Act: ActRestart, Server: id})
		case 1:
			d.do(Action{At: at, Act: ActFailSaveLate, Server: id})
			d.do(Action{At: at + d.between(ms, 300*ms), Act: ActRestart, Server: id})
		case 2:
			d.do(Action{At: at, Act: ActHangSave, Server: id})
			d.do(Action{At: at + d.between(ms, 300*ms), Act: ActCrash, Server: id})
			d.do(Action{At: at + d.between(300*ms, 400*ms), Act: ActRestart, Server: id})
		case 3:
			d.do(Action{At: at, Act: ActSaveTime, Server: id, For: d.between(ms, 100*ms)})
		default:
			d.do(Action{At: at, Act: ActLoadTime, Server: id, For: d.between(ms, 30*ms)})
		}
	}
}

// lies draws messages that no correct server sends, about one instance.
func (d *drawing) lies() {
	for range d.IntN(8) { // a Prepare or a Query that is answered with a lie
		d.do(Action{At: d.when(), Act: []Act{ActRead, ActWait}[d.IntN(2)], Server: d.id(), Instance: d.names[0]})
	}
	for range 1 + d.IntN(12) {
		switch from, to := d.id(), d.id(); {
		case from == to:
		case d.some(2):
			d.do(Action{At: d.when(), Act: ActForge, Server: from, Peer: to, Message: d.lie(d.names[0], from, to)})
		default:
			kinds := []paxos.Kind{paxos.KindAccept, paxos.KindPromise, paxos.KindPromise, paxos.KindAccepted, paxos.KindState, paxos.KindState}
			d.do(Action{At: d.when() / 2, Act: ActTwist, Server: from, Peer: to, Value: "a lie", Message: paxos.Message{Kind: kinds[d.IntN(6)]}})
		}
	}
}

// strangers draws messages of servers that are no members, and must not be believed.
func (d *drawing) strangers() {
	for range 1 + d.IntN(6) {
		to, stranger := d.id(), paxos.ServerID(d.Servers+d.Learners+1)
		d.do(Action{At: d.when(), Act: ActStranger, Server: to, Message: d.lie(d.names[d.IntN(len(d.names))], stranger, to)})
	}
}

// lie draws a message of any kind.
func (d *drawing) lie(name string, from, to paxos.ServerID) paxos.Message {
	ballot := func() paxos.Ballot {
		return paxos.Ballot{Round: uint64(d.IntN(4)), Server: []paxos.ServerID{from, to, d.id()}[d.IntN(3)]}
	}
	kinds := []paxos.Kind{paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindNack, paxos.KindChosen,
		paxos.KindDecided, paxos.KindQuery, paxos.KindState, paxos.KindPull, paxos.KindNames, 77}
	m := paxos.Message{Kind: kinds[d.IntN(len(kinds))], Instance: name, Ballot: ballot(), Value: d.values[d.IntN(len(d.values))]}
	if d.some(2) {
		m.Promised = ballot()
	}
	if d.some(2) {
		m.Accepted = ballot()
	}
	if m.Kind == paxos.KindPull || m.Kind == paxos.KindNames {
		m.Instance, m.Ballot = "", paxos.Ballot{}
		if int(from) > d.Servers+d.Learners { // a member's lie could hide decisions of others, and not in one instance alone
			m.Value = paxos.Value(fmt.Sprintf("%x %d %d", 1001+d.IntN(3), d.IntN(4), 1+d.IntN(3)))
		}
		if m.Kind == paxos.KindNames {
			m.Value += paxos.Value(fmt.Sprintf(" %d\n%s", 1+d.IntN(9), name))
		}
	}
	return m
}
