package replica

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// Receive takes a packet. p.Messages stays the caller's; the Replica does not keep it.
func (r *Replica) Receive(now time.Duration, p paxos.Packet) {
	r.input(now)
	if r.stop != nil {
		return
	}
	from := r.byID[p.From]
	switch {
	case p.To != r.id || p.From == r.id:
		r.counters.Strangers++
		r.dropped(nil, &p, "it is for another server")
		return
	case from == nil || p.Configuration != r.view.Number():
		r.otherConfiguration(from, &p)
		return
	case !r.check(from, &p):
		return
	}
	for i := range p.Messages {
		m := &p.Messages[i]
		inst := r.table.byName[m.Instance]
		if why := r.invalid(from, m, inst); why != "" {
			r.counters.Dropped++
			if r.tracing.On {
				r.messageEvent(paxos.EventDrop, from.id, p.Boot, p.Seq, m, errors.New(why))
			}
			r.passOver(from, inst, m)
			continue
		}
		if r.tracing.On {
			r.messageEvent(paxos.EventReceive, from.id, p.Boot, p.Seq, m, nil)
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

// entered is called when a Save is done. It takes the packets that came before this server entered their configuration.
func (r *Replica) entered() {
	for _, kept := range r.early.take(r.view.Number()) {
		r.Receive(r.now, kept)
	}
}

// otherConfiguration takes a packet of a server that lives under another configuration, or that is none of the peers. Nothing of it is
// used but the decision of the next configuration. If it is of that one, it is taken when this server has entered that, too. A server that
// is behind is told the one after its own.
func (r *Replica) otherConfiguration(from *peer, p *paxos.Packet) {
	own := r.view.Number()
	switch {
	case p.ToStore != 0 && p.ToStore != r.server.Store || p.Store == 0 || from != nil && from.identity.store() != 0 && from.identity.store() != p.Store:
		r.dropped(from, p, "it is of another storage")
		return
	case from == nil && own == 0 && p.Configuration == 0:
		r.counters.Strangers++
		r.dropped(nil, p, "it is from none of Members")
		return
	}
	if from == nil {
		if from = r.guest(p.From); from == nil {
			r.counters.Strangers++
			r.dropped(nil, p, "it is from none of Members, as many others")
			return
		}
	}
	if p.Configuration > own {
		name := paxos.ConfigurationName(own + 1)
		for i := range p.Messages {
			if m := &p.Messages[i]; m.Kind == paxos.KindDecided && m.Instance == name && len(m.Value) <= maxConfiguration && !m.Ballot.IsZero() &&
				m.Ballot.Configuration() == own && r.checkNext(name, m.Ballot, m.Value) == nil {
				r.teller, r.told = from.id, p.Configuration
				r.messageEvent(paxos.EventReceive, from.id, p.Boot, p.Seq, m, nil)
				r.message(from, m, r.table.byName[name])
				if len(p.Messages) > 1 {
					rest := *p
					rest.Messages = slices.Concat(p.Messages[:i], p.Messages[i+1:])
					r.keepEarly(&rest)
				}
				return
			}
		}
	}
	if !r.keepEarly(p) {
		r.dropped(from, p, fmt.Sprintf("it is of configuration %d; here it is %d", p.Configuration, own))
	}
	if !(r.byID[p.From] == from && asksNext(p)) && !from.refusal.mayTell(r.now, r.timing.Phase) {
		return
	}
	switch {
	case p.Configuration < own:
		r.sayConfiguration(from, p.Configuration+1)
	case p.Configuration > own:
		r.askConfiguration(from, own+1)
	default:
		r.sayConfiguration(from, own) // it is no member, and does not know yet that it is not needed any more
	}
}

// asksNext reports whether the sender of p asks for the configuration after its own. A member that catches up does so once for each.
func asksNext(p *paxos.Packet) bool {
	name := paxos.ConfigurationName(p.Configuration + 1)
	return slices.ContainsFunc(p.Messages, func(m paxos.Message) bool { return m.Kind == paxos.KindQuery && m.Instance == name })
}

// askTeller asks the server that told of the last configuration for the one with that number, if it lives under that one or a later one.
// A server that was away over many changes would else ask for the next one only when it hears a server again.
func (r *Replica) askTeller(number uint64) {
	if number > r.told {
		return
	}
	p := r.byID[r.teller]
	if p == nil {
		p = r.guest(r.teller)
	}
	if p != nil {
		r.askConfiguration(p, number)
	}
}

// askConfiguration asks p for the decision of the configuration with that number.
func (r *Replica) askConfiguration(p *peer, number uint64) {
	r.send(p, &paxos.Message{Kind: paxos.KindQuery, Instance: paxos.ConfigurationName(number), Ballot: r.importBallot(false)})
}

// keepEarly keeps p if it is of the next configuration and from a peer. It reports whether there was room.
func (r *Replica) keepEarly(p *paxos.Packet) bool {
	return p.Configuration == r.view.Number()+1 && r.byID[p.From] != nil && r.early.keep(p, r.limits.MaxPacket)
}

// sayConfiguration sends p the decision of the configuration with that number, as if p had asked for it.
func (r *Replica) sayConfiguration(p *peer, number uint64) {
	if number > 0 {
		q := paxos.Message{Kind: paxos.KindQuery, Instance: paxos.ConfigurationName(number), Ballot: paxos.Ballot{Round: 1, Server: p.id}}
		r.message(p, &q, r.table.byName[q.Instance])
	}
}

// maxGuests bounds the guests. One more takes the place of the first, if that was answered long enough ago. So strangers get few answers,
// however many there are.
const maxGuests = 64

// guest returns the peer that stands for a server that is none of the peers. It returns nil if there is no room.
func (r *Replica) guest(id paxos.ServerID) *peer {
	for _, p := range r.guests {
		if p.id == id {
			return p
		}
	}
	p := r.newPeer(id)
	if len(r.guests) == maxGuests {
		if !r.guests[0].refusal.mayTell(r.now, r.timing.Phase) {
			return nil
		}
		r.guests[0].gone = true
		r.guests = slices.Delete(r.guests, 0, 1)
	}
	r.guests = append(r.guests, p)
	return p
}
