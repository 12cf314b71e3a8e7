package paxostest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// drawWipe makes a server lose its disk, in one seed of five, and come back with a new one. An operator may do that at three in the
// morning: before, while or after the others restart. The others must refuse the server for ever, and go on without it.
//
// In one seed of three the servers have not met at the start, so that they meet among all the other faults. The drawing has random
// numbers of its own, so that the other seeds stay as they were.
func (d *drawing) drawWipe() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0x3a3))
	d.Unmet = d.some(3)
	if changes := func(a Action) bool { return a.Act == ActChange }; d.Forges || slices.ContainsFunc(d.Actions, changes) || !d.some(5) {
		return
	}
	victim, at := d.id(), d.when()
	back := at + d.between(0, 100*ms)
	name := d.names[d.IntN(len(d.names))]
	if d.some(2) {
		at, back, name = d.drawAnswersToTheDead(victim)
	}
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
		d.do(Action{At: back + d.between(0, 10*ms), Act: ActPropose, Server: victim, Instance: name, Value: d.values[d.IntN(len(d.values))]})
		d.do(Action{At: back + d.between(0, 50*ms), Act: ActPropose, Server: d.id(), Instance: name, Value: d.values[d.IntN(len(d.values))]})
		back += d.between(0, 100*ms)
		name = d.names[d.IntN(len(d.names))]
	}
}

// drawAnswersToTheDead makes a server propose or read, and lose its disk before all answers have arrived. They reach the new server in
// its place. That server asks for another value in the same instance, in the same ballot.
func (d *drawing) drawAnswersToTheDead(victim paxos.ServerID) (at, back time.Duration, name string) {
	trip := d.Delay + d.SaveTime
	asked := d.between(0, d.Ends)
	at = asked + d.between(trip, 5*trip)
	back = at + d.between(0, 5*ms)
	d.Late, d.Twice = max(d.Late, 0.5), max(d.Twice, 0.2)
	d.Later = max(d.Later, 6*trip+10*ms)
	name = fmt.Sprint("lost/", victim)
	a := Action{At: asked, Act: ActPropose, Server: victim, Instance: name, Value: d.values[d.IntN(len(d.values))]}
	switch d.IntN(4) {
	case 0:
	case 1:
		a.Act, a.Value = ActRead, ""
		d.do(Action{At: asked + d.between(0, 2*trip), Act: ActPropose, Server: d.id(), Instance: name, Value: d.values[d.IntN(len(d.values))]})
		d.do(Action{At: back + d.between(trip, 5*trip), Act: ActRead, Server: victim, Instance: name})
	default:
		a.Instance = d.ownedName(victim, len(d.names), name)
	}
	d.do(a)
	return at, back, a.Instance
}

// wipe replaces the disk of a server by a new one, if all others have met that server, and are a quorum without it. Otherwise two values may
// be decided, and no server could know.
func (r *chaosRun) wipe(s *server) bool {
	var rest paxos.Set
	for i := range r.plan.Servers {
		if i != int(s.ID)-1 {
			rest = rest.With(i)
		}
	}
	if s.replica != nil || !r.oracle.Quorum().Phase1(rest) || !r.oracle.Quorum().Phase2(rest) {
		return false
	}
	for _, other := range r.servers {
		if other != s && (!other.Met(&s.Server) || other.Wiped()) {
			return false
		}
	}
	r.Wipe(s.ID)
	return true
}
