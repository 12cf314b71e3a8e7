package node

import (
	"iter"

	"github.com/singledecree/paxos"
)

// SetTracing(true) lets the Node keep its latest events in memory, for [Node.Events], from the next turn of its loop on.
// SetTracing(false) ends that. A new Node keeps none. Events that are kept stay until SetTracing(true) begins anew.
//
// A Node keeps at most 65,536 events. It keeps the first 64 bytes of each value: [paxos.Event].Cut tells the rest. An event
// has about 210 bytes, so all of them have 14 MB, and 20 MB more at most for names of 255 bytes and values.
//
// When so much happens that these events would be those of less than 10 s, the Node traces fewer instances: see
// [Node.Tracing]. With Config.Trace it always traces all of them.
func (n *Node) SetTracing(on bool) {
	n.ring.want(on)
	signal(n.wake)
}

// Tracing says which events the Node keeps now. OneIn is 0 or 1 unless much happens.
func (n *Node) Tracing() paxos.Tracing { return n.ring.traced() }

// Events returns the events that the Node keeps with a Seq above after, oldest first. The sequence ends with the latest event
// that has happened; to go on, give its Seq. If the first Seq is not after + 1, the events between are not kept any more. A
// slow consumer delays nobody, but may miss events.
//
// Events also returns what a Node that has stopped had kept.
func (n *Node) Events(after uint64) iter.Seq[paxos.Event] {
	return func(yield func(paxos.Event) bool) {
		into := make([]paxos.Event, 0, 256)
		for seq := after + 1; seq > after; {
			into = n.ring.read(seq, into)
			if len(into) == 0 {
				return
			}
			for i := range into {
				if !yield(into[i]) {
					return
				}
			}
			seq = into[len(into)-1].Seq + 1
		}
	}
}

// trace lets the Replica note what Config.Trace and the ring need.
func (n *Node) trace() {
	t := n.ring.traced()
	if n.report.trace != nil {
		t = paxos.Tracing{On: true}
	}
	n.replica.SetTracing(t)
}
