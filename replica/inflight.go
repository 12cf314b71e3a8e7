package replica

import (
	"time"

	"github.com/singledecree/paxos"
)

// maxInflight is about how many bytes of long values the attempts of this server have in flight. More of them would not be
// decided any earlier. They would fill the queues of transports, be dropped there and sent again, and wait for the disks of
// the acceptors.
const maxInflight = 8 << 20

// inflight counts the long values that calls of this server propose, from the begin of a ballot to the end of its attempt.
// An attempt without room waits in line, and has sent nothing.
type inflight struct {
	bytes int
	line  list          // instances that wait for room
	next  *instance     // the instance that has left the line, and goes first
	freed bool          // there may be room for the first in line
	took  time.Duration // about how long the votes for a long value take
}

// fits reports whether there is room for n bytes. If nothing is in flight, there is room for any value.
func (f *inflight) fits(n int) bool { return f.bytes == 0 || f.bytes+n <= maxInflight }

// hasRoom reports whether inst may begin an attempt for v. Otherwise inst waits in line until there is room.
func (f *inflight) hasRoom(inst *instance, v paxos.Value) bool {
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

// leaveLine takes inst out of the line, if it is there.
func (f *inflight) leaveLine(inst *instance) {
	if inst.wantsRoom {
		inst.wantsRoom = false
		f.line.remove(inst)
		f.freed = true // the next may need less
	}
}

// mayAdmit reports whether room may have come since the line was looked at.
func (f *inflight) mayAdmit() bool { return f.freed }

// admitFirst takes the first instance out of the line, if there is room for its value. Its attempt begins before the next
// input. admitFirst returns nil if there is no such instance.
func (f *inflight) admitFirst() *instance {
	inst := f.line.first
	if inst != nil {
		if first := inst.calls.proposes(); first != nil && !f.fits(len(first.value)) {
			inst = nil
		}
	}
	if f.next = inst; inst == nil {
		f.freed = false
		return nil
	}
	f.leaveLine(inst)
	return inst
}

// admit counts the value of an attempt that begins.
func (f *inflight) admit(a *attempt) {
	if len(a.Own()) >= longMessage {
		a.inflight = len(a.Own())
		f.bytes += a.inflight
	}
}

// release stops counting the value of an attempt. The attempt has ended, or makes no progress.
func (f *inflight) release(a *attempt) {
	if a.inflight > 0 {
		f.bytes -= a.inflight
		a.inflight, f.freed = 0, true
	}
}

// resendAfter returns for how long an attempt waits for the answers of a phase before it asks again. A long value has
// longer, if such values take long.
func (f *inflight) resendAfter(a *attempt, t *paxos.Timing) time.Duration {
	if len(a.Own()) < longMessage && len(a.Value()) < longMessage {
		return t.Phase
	}
	return max(t.Phase, min(4*f.took, t.MaxBackoff))
}

// voted is called when the value of an attempt is chosen. It notes how long the votes for a long value took.
func (f *inflight) voted(a *attempt, now time.Duration, t *paxos.Timing) {
	if len(a.Value()) >= longMessage {
		f.took += (min(now-a.asked, t.MaxBackoff) - f.took) / 4
	}
}
