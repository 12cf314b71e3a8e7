package paxos

import "time"

// maxFlight is about how many bytes of long values this server's own attempts have under way. More would not be decided any earlier:
// it would fill the queues of transports, be dropped there and be sent again, and wait for the acceptors' disks.
const maxFlight = 8 << 20

// A flight is the long values under way from this server: those that its calls propose, from the ballot's begin to the end of the
// attempt. Those for which there is no room wait in line, and have sent nothing.
type flight struct {
	bytes int
	line  list          // waits for room
	next  *instance     // has left the line, and goes before who is in it
	freed bool          // there is room since takeOff looked last
	took  time.Duration // how long the votes for a long value took lately
}

// hasRoom reports whether inst may begin an attempt for v. If it may not, it waits in line, and goes on when there is room.
func (r *Replica) hasRoom(inst *instance, v Value) bool {
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

// fits reports whether there is room for n bytes: for one value there always is.
func (f *flight) fits(n int) bool { return f.bytes == 0 || f.bytes+n <= maxFlight }

// fly counts the value of an attempt that begins.
func (r *Replica) fly(a *attempt) {
	if len(a.own) >= longMessage {
		a.flies = len(a.own)
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

// takeOff has those go on for which there is room now.
func (r *Replica) takeOff() {
	f := &r.flight
	defer func() { f.next, f.freed = nil, false }()
	for inst := f.line.first; inst != nil; inst = f.line.first {
		if first := inst.calls.proposes(); first != nil && !f.fits(len(first.value)) {
			return
		}
		r.leaveLine(inst)
		f.next = inst
		r.proceed(inst)
		r.settle(inst)
	}
}

// patience is how long an attempt waits for the answers of a phase before it asks again: longer where its value is long, and such
// values take long.
func (r *Replica) patience(a *attempt) time.Duration {
	if len(a.own) < longMessage && len(a.value) < longMessage {
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
