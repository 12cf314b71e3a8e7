package paxostest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// drawOwned gives some instances owners, in one seed of three. An owner may use round 0 of its instance, once. The hard cases are drawn,
// too: the owner proposes after others have begun, crashes at once, and comes back with another value. It has random numbers of its own,
// so that the other seeds stay as they were. Those of internal/proof/testdata/swarm-seeds.txt are among them.
func (d *drawing) drawOwned() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0x0117ed06))
	if !d.some(3) {
		return
	}
	for i, name := range d.names {
		if d.some(3) {
			continue
		}
		owner := d.id()
		d.names[i] = d.ownedName(owner, i, name)
		for j := range d.Actions {
			a := &d.Actions[j]
			if a.Instance == name {
				a.Instance = d.names[i]
				if a.Act == ActPropose && d.some(2) {
					a.Server = owner
				}
			}
			if a.Message.Instance == name {
				a.Message.Instance = d.names[i]
			}
		}
		for range d.IntN(3) {
			d.ownerProposes(owner, d.names[i])
		}
	}
}

// ownedName draws a name that owner owns: for ever, or in one of its starts. That start may be in the future, or over.
func (d *drawing) ownedName(owner paxos.ServerID, i int, name string) string {
	if d.some(2) {
		return paxos.Owned(owner, name)
	}
	return fmt.Sprintf("$%d.%d.%d/%s", owner, []int{1, 1, 1, 2, 2, 3}[d.IntN(6)], i+1, name)
}

// ownerProposes lets an owner propose. Sometimes it crashes before or after its messages leave or its vote is saved, and then proposes
// another value. Sometimes it proposes another value in the same life.
func (d *drawing) ownerProposes(owner paxos.ServerID, name string) {
	a := Action{At: d.when(), Act: ActPropose, Server: owner, Instance: name, Value: d.values[d.IntN(len(d.values))]}
	d.do(a)
	a.Value = d.values[d.IntN(len(d.values))]
	switch d.IntN(3) {
	case 0:
		down := a.At + d.between(0, 2*d.Delay+2*d.SaveTime)
		act := ActCrash
		if d.some(3) {
			act = ActCrashSaved
		}
		d.do(Action{At: down, Act: act, Server: owner})
		back := down + d.between(0, 20*ms)
		d.do(Action{At: back, Act: ActRestart, Server: owner})
		a.At = back + d.between(0, 5*d.SaveTime)
		d.do(a)
	case 1:
		if d.some(2) {
			d.do(Action{At: a.At + d.between(0, d.Delay), Act: ActCancel, Server: owner})
		}
		a.At += d.between(0, 2*d.Delay+2*d.SaveTime)
		d.do(a)
	}
}

// drawStands lets servers stand, in two seeds of three: whether or not it is worth it, and some at the same time as others. Then they
// propose, in names of their own and in names of others. Votes are on their way below the standing ballot, servers crash in the middle, forget,
// and come back with other values. It has random numbers of its own, so that the other seeds stay as they were.
func (d *drawing) drawStands() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0x57a2d))
	if d.some(3) {
		return
	}
	d.NoStanding = d.some(2) // else some stand by themselves, too
	for i := range 1 + d.IntN(4) {
		d.standAt(d.when(), fmt.Sprint("stand/", i, "/"))
	}
}

// standAt draws a server that stands at a time, and calls in names that begin with prefix.
func (d *drawing) standAt(at time.Duration, prefix string) {
	stander := paxos.ServerID(1 + d.IntN(d.Servers))
	step := 2*d.Delay + 2*d.SaveTime + ms/10 // about a round trip
	names := []string{prefix + "a", prefix + "b", d.names[d.IntN(len(d.names))]}
	propose := func(at time.Duration, by paxos.ServerID) {
		d.do(Action{At: max(at, 0), Act: ActPropose, Server: by, Instance: names[d.IntN(len(names))], Value: d.values[d.IntN(len(d.values))]})
	}
	for range d.IntN(4) { // votes that may be below the ballot
		propose(at+d.between(0, 4*step)-2*step, d.id())
	}
	for range 1 + d.IntN(2) {
		d.do(Action{At: at, Act: ActStand, Server: stander})
		if d.some(3) {
			d.do(Action{At: at + d.between(0, 2*step), Act: ActStand, Server: paxos.ServerID(1 + d.IntN(d.Servers))})
		}
		at += step + d.between(0, 2*step)
		for range 1 + d.IntN(5) {
			propose(at, stander)
			at += d.between(0, step)
		}
		if d.some(4) {
			d.do(Action{At: at - d.between(0, 3*step), Act: ActForget, Server: d.id(), Names: d.someOf(names, prefix)})
		}
		d.troubleStand(at, step, stander)
		for range d.IntN(3) {
			propose(at+d.between(0, 3*step), d.id())
		}
		at += d.between(0, 6*step)
	}
	if d.some(2) {
		d.do(Action{At: at, Act: ActRead, Server: d.id(), Instance: names[0]})
	}
}

// drawForwards lets one server stand while others propose, in one seed of six. They propose several times, so their values are forwarded.
// Then the server that stands is paused, crashes or is cut off: values wait there in vain, and are decided elsewhere or twice. It has random
// numbers of its own. Seeds in which servers stand anyway have no part in it, nor has any of internal/proof/testdata/swarm-seeds.txt.
func (d *drawing) drawForwards() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0xf02a3b))
	if stands := func(a Action) bool { return a.Act == ActStand }; slices.ContainsFunc(d.Actions, stands) || d.some(2) {
		return
	}
	at := d.when()
	stander := paxos.ServerID(1 + d.IntN(d.Servers))
	step := 2*d.Delay + 2*d.SaveTime + ms/10 // about a round trip
	for i := range 3 + d.IntN(8) {
		if i == 0 || d.some(4) {
			d.do(Action{At: at, Act: ActStand, Server: stander})
			at += step
			d.do(Action{At: at, Act: ActPropose, Server: stander, Instance: fmt.Sprint("forward/", i), Value: d.values[0]})
			at += step
		}
		if i > 2 && d.some(4) {
			d.stopStander(at, step, stander)
		}
		for j := range 1 + d.IntN(3) {
			d.do(Action{At: at, Act: ActPropose, Server: d.id(), Instance: fmt.Sprint("forward/", i, "/", d.IntN(1+j)), Value: d.values[d.IntN(len(d.values))]})
			at += d.between(0, step)
		}
		at += d.between(0, 2*step)
	}
}

// stopStander draws how the server that stands is of no use to others for a time.
func (d *drawing) stopStander(at, step time.Duration, stander paxos.ServerID) {
	back := at + d.between(0, 40*step)
	switch d.IntN(4) {
	case 0:
		d.do(Action{At: at, Act: ActCrash, Server: stander})
		d.do(Action{At: back, Act: ActRestart, Server: stander})
	case 1:
		other := d.id()
		d.do(Action{At: at, Act: ActCut, Server: stander, Peer: other})
		d.do(Action{At: back, Act: ActJoin, Server: stander, Peer: other})
	default:
		d.do(Action{At: at, Act: ActPause, Server: stander})
		d.do(Action{At: back, Act: ActResume, Server: stander})
	}
}

// someOf draws one of those names, or all that begin with prefix.
func (d *drawing) someOf(names []string, prefix string) paxos.NameRange {
	if d.some(3) {
		return paxos.Prefix(prefix)
	}
	return paxos.OneName(names[d.IntN(len(names))])
}

// troubleStand draws what goes wrong at that time: the server that stands, or an acceptor, crashes and comes back, or loses what is sent to it.
func (d *drawing) troubleStand(at, step time.Duration, stander paxos.ServerID) {
	victim := stander
	if d.some(2) {
		victim = d.id()
	}
	switch at -= d.between(0, 3*step); d.IntN(4) {
	case 0, 1:
		act := ActCrash
		if d.some(2) {
			act = ActCrashSaved
		}
		d.do(Action{At: max(at, 0), Act: act, Server: victim})
		d.do(Action{At: max(at, 0) + d.between(0, 4*step), Act: ActRestart, Server: victim})
	case 2:
		other := d.id()
		d.do(Action{At: max(at, 0), Act: ActCut, Server: other, Peer: victim})
		d.do(Action{At: max(at, 0) + d.between(0, 20*step), Act: ActJoin, Server: other, Peer: victim})
	}
}
