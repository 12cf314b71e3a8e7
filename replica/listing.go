package replica

import "time"

// A listing is a page for a peer that has pulled, from the Pull until the page leaves.
type listing struct {
	ask   uint64        // the ListAsk to our own storage for it; 0: none is out
	from  uint64        // the page lists decisions after this Index
	top   uint64        // the durable Index when the peer pulled: a page that is not full claims to list all up to here
	said  uint64        // the peer knows all decisions up to this Index of this server
	moved time.Duration // when it said so first

	values bool // the peer wants the values too
}

// says notes that the peer knows all decisions up to that Index of this server.
func (l *listing) says(now time.Duration, index uint64) {
	if l.said != index {
		l.said, l.moved = index, now
	}
}

// isRead reports whether the peer has gone on to read this server's decisions in the last so much time.
func (l *listing) isRead(now, lately time.Duration) bool { return now-l.moved <= lately }

// told returns the Index of this server up to which the peer knows all decisions, as it has said.
func (l *listing) told() uint64 { return l.said }

// begin begins a page of the decisions after that Index. top is the durable Index.
func (l *listing) begin(after, top uint64, values bool) { l.from, l.top, l.values = after, top, values }

// asks notes that the storage is asked for the page, by the ListAsk with that ID.
func (l *listing) asks(id uint64) uint64 {
	l.ask = id
	return id
}

// question returns what the peer has asked for: the decisions after Index from, up to Index top, with or without their values.
func (l *listing) question() (from, top uint64, values bool) { return l.from, l.top, l.values }

// waits reports whether the storage was asked for the page.
func (l *listing) waits() bool { return l.ask != 0 }

// answer reports whether the ListAsk with that ID is the one for this page, which waits no more then.
func (l *listing) answer(id uint64) bool {
	if l.ask != id {
		return false
	}
	l.ask = 0
	return true
}
