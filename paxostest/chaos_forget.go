package paxostest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// drawForgets draws servers that are asked to forget: one name, several, or all of them, early or late, once or again. It has random
// numbers of its own, so that the other seeds stay as they were.
func (d *drawing) drawForgets() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0xf0f0))
	if !d.some(4) {
		return
	}
	for range 1 + d.IntN(4) {
		name := d.names[d.IntN(len(d.names))]
		names := paxos.OneName(name)
		switch d.IntN(5) {
		case 0:
			names = paxos.Prefix("job/")
		case 1:
			names = paxos.Prefix("") // owned names, too
		case 2:
			other := d.names[d.IntN(len(d.names))]
			names = paxos.NameRange{From: min(name, other), To: max(name, other) + "\x00"}
		}
		a := Action{At: d.when(), Act: ActForget, Server: d.id(), Names: names}
		d.do(a)
		if d.some(4) {
			d.do(Action{At: a.At + d.between(0, 100*ms), Act: ActCancel, Server: a.Server})
		}
		// Late callers, and a crash in the middle of the Save.
		for range d.IntN(4) {
			d.do(Action{At: a.At + d.between(0, 100*ms), Act: []Act{ActPropose, ActRead, ActWait}[d.IntN(3)], Server: d.id(), Instance: name, Value: d.values[0]})
		}
		if d.some(3) {
			at := a.At + time.Duration(d.Float64()*float64(d.Delay+2*d.SaveTime))
			server := d.id()
			d.do(Action{At: at, Act: []Act{ActCrash, ActCrashSaved}[d.IntN(2)], Server: server})
			d.do(Action{At: at + d.between(0, 200*ms), Act: ActRestart, Server: server})
		}
	}
	for i := range d.Actions {
		if a := &d.Actions[i]; a.Act != ActPropose && a.Act != ActForget && a.Value != "" && a.Act <= ActReady {
			a.Value = ""
		}
	}
}

// forgetsApart says which names one server has forgotten, and another has not. Empty: none.
func (r *chaosRun) forgetsApart() string {
	var first *server
	for _, s := range r.servers {
		switch {
		case s.Wiped():
			continue
		case first == nil:
			first = s
		case !slices.Equal(first.Disk.Ranges(), s.Disk.Ranges()):
			return fmt.Sprintf("server %d has forgotten %v, and server %d %v", first.ID, first.Disk.Ranges(), s.ID, s.Disk.Ranges())
		}
		for name, fact := range r.oracle.Facts() {
			if !fact.Forged && first.Disk.Forgets(name) != s.Disk.Forgets(name) {
				return fmt.Sprintf("of servers %d and %d, only one has forgotten %q", first.ID, s.ID, name)
			}
		}
	}
	return ""
}
