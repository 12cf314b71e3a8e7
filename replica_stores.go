package paxos

import (
	"fmt"
	"slices"
)

// A ServerID is one storage for all time: a server whose storage was lost, or made anew, has forgotten its promises and votes, and must
// never be taken for the one that gave them. So the Store of each other server is stored here, in ServerState.Peers, when that server is
// met, and any other Store is refused from then on, over all restarts.
//
//	first packet of a Store                 held here, nothing comes of it
//	  ── Save: "2/9f03" joins Peers ──►
//	Saved                                   what was held is taken, and all that follows
//	another Store, whenever                 refused in words; the process that said so stops
//	a packet for another Store of ours      dropped: see refusal
//
// Nothing comes of a packet before its Store is durable: a server that counted a promise, then crashed before the Save, would not know
// whose promise that was when a storage made anew says something else.

// Bounds of what is held of servers that are not stored yet. Beyond them packets are lost, as they may be on any network.
const maxStrange = 1024 // packets of each; their bytes, of all together, end with Limits.MaxPacket and the packet that goes beyond

// meet notes the Stores of the peers that s names. What s says of pulls names Stores too: of a version that stored no more than that.
func (r *Replica) meet(s *ServerState) {
	stores, _ := parsePeers(s.Peers) // they were checked
	pulls, _ := parsePulled(s.Pulled)
	for i := range r.peers {
		p := &r.peers[i]
		if p.store = stores[p.id]; p.store == 0 && pulls[p.id].store != 0 {
			p.store = pulls[p.id].store
			s.Peers = withPeer(s.Peers, p.id, p.store)
		}
	}
}

// met reports whether the packet is of the storage that is stored here as that peer's. If there is none yet, this becomes it, and the
// packet is held until that is durable. Any other is refused.
func (r *Replica) met(from *peer, p *Packet) bool {
	switch {
	case p.Store == 0:
		r.dropped(from, p, "it names no storage")
	case p.Store == from.store && from.storing == 0:
		return true
	case from.store == 0:
		from.store, from.storing = p.Store, r.saves.begun+1 // the next Save holds it
		r.saves.state.Peers = withPeer(r.saves.state.Peers, from.id, p.Store)
		r.saves.stateChanged, r.saves.urgent = true, true
		r.strange.peers++
		r.holdPacket(from, p)
	case p.Store == from.store:
		r.holdPacket(from, p)
	default:
		r.refuse(from, p, fmt.Sprintf("server %d was met with another storage, Store %x, and this is Store %x: its disk was lost, or made anew, "+
			"and its ServerID is finished", p.From, from.store, p.Store))
	}
	return false
}

// refusal takes a packet that is meant for another storage of this server: one that was lost, if this is made anew under its old name. Boot
// and rounds began anew with it, so that an answer to what the lost one asked looks like one to a question of this. Nothing comes of it, but
// for a Refuse that names this very process: how else would that learn that it has no place here? p has nothing but the Refuse then.
//
// The packet proves that some server has met this ServerID on another storage, and yet it is no reason to stop: it may be this storage that
// was there first, and all others may know it.
func (r *Replica) refusal(from *peer, p *Packet) bool {
	why := fmt.Sprintf("server %d has met this server with another storage, Store %x, and this is Store %x", p.From, p.ToStore, r.saves.state.Store)
	for i := range p.Messages {
		m := &p.Messages[i]
		if m.Kind != KindRefuse {
			continue
		}
		if _, ok := r.meantHere(string(m.Value)); !ok {
			continue
		}
		if rest := *p; len(p.Messages) > 1 {
			rest.Messages = slices.Delete(slices.Clone(p.Messages), i, i+1)
			r.dropped(from, &rest, why)
		}
		p.Messages = p.Messages[i : i+1]
		return true
	}
	r.refusing(from, why)
	r.dropped(from, p, why)
	return false
}

// strange is what is held of peers whose Stores are not durable here yet.
type strange struct {
	peers int // how many they are
	bytes int // of the packets that are held of them
}

// holdPacket keeps p until its Store is durable.
func (r *Replica) holdPacket(from *peer, p *Packet) {
	if len(from.held) >= maxStrange || r.strange.bytes > r.limits.MaxPacket {
		r.dropped(from, p, "its sender's storage is not stored here yet, and there is no room for what it says")
		return
	}
	r.strange.bytes += sizeOfPacket(p)
	held := *p
	held.Messages = slices.Clone(p.Messages)
	from.held = append(from.held, held)
}

func sizeOfPacket(p *Packet) int {
	size := 128
	for i := range p.Messages {
		size += sizeOf(&p.Messages[i])
	}
	return size
}

// storesSaved is called when a Save is done: what was held of those whose Stores it held is taken, in order.
func (r *Replica) storesSaved() {
	if r.strange.peers == 0 {
		return
	}
	for i := range r.peers {
		p := &r.peers[i]
		if p.storing == 0 || p.storing > r.saves.ended {
			continue
		}
		p.storing = 0
		r.strange.peers--
		held := p.held
		p.held = nil
		for j := range held {
			r.strange.bytes -= sizeOfPacket(&held[j])
			r.Receive(r.now, held[j])
		}
	}
}
