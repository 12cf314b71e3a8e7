package replica

import (
	"cmp"
	"slices"

	"github.com/singledecree/paxos"
)

// An outbox holds the messages for one peer until they leave, and numbers its packets.
type outbox struct {
	seq   uint64          // of the last packet
	out   []paxos.Message // messages for the next packet
	sent  []paxos.Message // messages of the last Output
	bytes int             // of out
	long  int             // how many of out are long
	news  int             // how many of out are Chosen
}

// add adds a message.
func (o *outbox) add(m *paxos.Message) {
	o.out = append(o.out, *m)
	size := sizeOf(m)
	o.bytes += size
	if size > longMessage {
		o.long++
	}
	if m.Kind == paxos.KindChosen {
		o.news++
	}
}

// len is the number of messages that wait.
func (o *outbox) len() int { return len(o.out) }

// mayDelay reports whether the messages may wait: they are few, and each only tells of a decision. most is the largest
// packet.
func (o *outbox) mayDelay(most int) bool { return o.news == len(o.out) && o.bytes < most/2 }

// take takes all messages out, the long ones last. They are valid until the next take. If split is true, one packet of at
// most so many bytes does not hold them: see fitting.
func (o *outbox) take(most int) (ms []paxos.Message, split bool) {
	clear(o.sent)
	o.out, o.sent = o.sent[:0], o.out
	if o.long > 0 {
		slices.SortStableFunc(o.sent, func(a, b paxos.Message) int { return cmp.Compare(ownPacket(&a), ownPacket(&b)) })
	}
	split = o.long > 0 || o.bytes > most
	o.bytes, o.long, o.news = 0, 0, 0
	return o.sent, split
}

// leave makes the messages that were taken valid for ever.
func (o *outbox) leave() { o.sent = nil }

// number returns the Seq of the next packet.
func (o *outbox) number() uint64 {
	o.seq++
	return o.seq
}

// sizeOf is about how many bytes m takes on the wire.
func sizeOf(m *paxos.Message) int { return len(m.Instance) + len(m.Value) + 64 }

// ownPacket is 1 for a message that has a packet of its own, after all messages for which it is 0.
func ownPacket(m *paxos.Message) int {
	if sizeOf(m) > longMessage {
		return 1
	}
	return 0
}

// fitting returns how many of ms fit a packet of that size. It is one at least. The long messages are the last in ms.
func fitting(ms []paxos.Message, most int) int {
	size := 0
	for i := range ms {
		n := sizeOf(&ms[i])
		if size += n; (size > most || n > longMessage) && i > 0 {
			return i
		}
		if n > longMessage {
			return 1
		}
	}
	return len(ms)
}
