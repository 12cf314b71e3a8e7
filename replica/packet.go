package replica

import (
	"errors"
	"time"

	"github.com/singledecree/paxos"
)

// Receive takes a packet. p.Messages stays the caller's; the Replica does not keep it.
func (r *Replica) Receive(now time.Duration, p paxos.Packet) {
	r.input(now)
	if r.stop != nil {
		return
	}
	from, ok := r.check(&p)
	if !ok {
		return
	}
	for i := range p.Messages {
		m := &p.Messages[i]
		inst := r.table.byName[m.Instance]
		if why := r.invalid(from, m, inst); why != "" {
			r.counters.Dropped++
			if r.trace {
				r.event(paxos.Event{Kind: paxos.EventDrop, Peer: from.id, Packet: p.Seq, Message: *m, Err: errors.New(why)})
			}
			r.passOver(from, inst, m)
			continue
		}
		if r.trace {
			r.event(paxos.Event{Kind: paxos.EventReceive, Peer: from.id, Packet: p.Seq, Message: *m})
		}
		r.counters.Received[m.Kind]++
		r.message(from, m, inst)
		if r.stop != nil {
			return
		}
	}
	r.notice(from) // after the messages: they may bring what it would ask for
}

// storesSaved is called when a Save is done. It takes the packets that were held of servers whose Stores are durable now, in
// order.
func (r *Replica) storesSaved() {
	if !r.strange.any() {
		return
	}
	for i := range r.peers {
		for _, held := range r.strange.saved(&r.peers[i].identity, r.saves.done()) {
			r.Receive(r.now, held)
		}
	}
}
