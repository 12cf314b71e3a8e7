package paxostest

import (
	"fmt"
	"math/rand/v2"

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
