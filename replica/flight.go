package replica

import (
	"time"

	"github.com/singledecree/paxos"
)

// hasRoom reports whether inst may begin an attempt for v. If it may not, it waits in line, and goes on when there is room.
func (r *Replica) hasRoom(inst *instance, v paxos.Value) bool {
	f := &r.flight
	if len(v) < longMessage || !inst.wantsRoom && (f.line.len == 0 || f.next == inst) && f.fits(len(v)) {
		return true
	}
	if !inst.wantsRoom {
		if inst.list != nil {
			inst.list.remove(inst)
		}
		inst.wantsRoom = true
		f.line.push(inst)
	}
	return false
}

// leaveLine is called when inst needs no room any more.
func (r *Replica) leaveLine(inst *instance) {
	if inst.wantsRoom {
		inst.wantsRoom = false
		r.flight.line.remove(inst)
		r.flight.freed = true // the next may need less
	}
}

// fly counts the value of an attempt that begins.
func (r *Replica) fly(a *attempt) {
	if len(a.Own()) >= longMessage {
		a.flies = len(a.Own())
		r.flight.bytes += a.flies
	}
}

// land is called when an attempt ends: of others there may be room for its value.
func (r *Replica) land(a *attempt) {
	if a.flies > 0 {
		r.flight.bytes -= a.flies
		a.flies, r.flight.freed = 0, true
	}
}

// patience is how long an attempt waits for the answers of a phase before it asks again: longer where its value is long, and such
// values take long.
func (r *Replica) patience(a *attempt) time.Duration {
	if len(a.Own()) < longMessage && len(a.Value()) < longMessage {
		return r.timing.Phase
	}
	return max(r.timing.Phase, min(4*r.flight.took, r.timing.MaxBackoff))
}

// voted notes how long the votes of an attempt took, whose value is chosen.
func (r *Replica) voted(a *attempt) {
	if len(a.Value()) >= longMessage {
		r.flight.took += (min(r.now-a.asked, r.timing.MaxBackoff) - r.flight.took) / 4
	}
}
