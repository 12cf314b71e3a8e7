package paxostest

import (
	"math/rand/v2"

	"github.com/singledecree/paxos"
)

// drawWipe has a server lose its disk, in one seed of five, and come back with one that was made anew, as an operator may do at three in
// the morning: before, while or after the others restart. They must refuse it for ever, and go on without it. In every third seed the
// servers have not met when it begins, so that they meet while all else goes wrong. It has random numbers of its own, so that the other
// seeds stay what they are.
func (d *drawing) drawWipe() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0x3a3))
	d.Unmet = d.some(3)
	if d.Forges || !d.some(5) {
		return
	}
	victim, at := d.id(), d.when()
	back := at + d.between(0, 100*ms)
	for id := paxos.ServerID(1); int(id) <= d.Servers+d.Learners; id++ {
		if id == victim || d.some(3) {
			continue
		}
		down := at + d.between(0, 20*ms) - d.between(0, 20*ms)
		d.do(Action{At: max(down, 0), Act: ActCrash, Server: id})
		d.do(Action{At: max(down, 0) + d.between(0, 100*ms), Act: ActRestart, Server: id})
	}
	d.do(Action{At: at, Act: ActCrash, Server: victim})
	d.do(Action{At: at, Act: ActWipe, Server: victim})
	for range 1 + d.IntN(3) {
		d.do(Action{At: back, Act: ActRestart, Server: victim})
		name := d.names[d.IntN(len(d.names))]
		d.do(Action{At: back + d.between(0, 10*ms), Act: ActPropose, Server: victim, Instance: name, Value: d.values[d.IntN(len(d.values))]})
		d.do(Action{At: back + d.between(0, 50*ms), Act: ActPropose, Server: d.id(), Instance: name, Value: d.values[d.IntN(len(d.values))]})
		back += d.between(0, 100*ms)
	}
}

// wipe has the disk of a server be lost and made anew, if all others have met that server and can go on without it: where they have not, or
// where the votes that are lost are a quorum alone, two values may be decided, and no server could know.
func (r *chaosRun) wipe(s *server) bool {
	var rest paxos.Set
	for i := range r.plan.Servers {
		if i != int(s.id)-1 {
			rest = rest.With(i)
		}
	}
	if s.replica != nil || !r.check.quorum.Phase1(rest) || !r.check.quorum.Phase2(rest) {
		return false
	}
	for _, other := range r.servers {
		if other != s && (!other.met(s.id, firstStore(s.id)) || r.check.wiped[other.id]) {
			return false
		}
	}
	r.Wipe(s.id)
	return true
}
