package node

import (
	"log/slog"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// reportAll reports the faults, round trips and events of an Output to the user. The calls of the events must not have ended yet.
func (n *Node) reportAll(out *replica.Output) {
	for _, f := range out.Faults {
		n.report.log(slog.LevelError, "protocol broken: the instance has stopped", "instance", f.Instance,
			"ballot", f.Ballot.String(), "err", f)
	}
	if len(out.RoundTrips) > 0 {
		n.watcher.addTrips(out.RoundTrips)
	}
	if len(out.Events) > 0 {
		if n.report.trace != nil {
			n.report.events.add(out.Events, n.calls.context)
		}
		if n.ring.add(out.Events) {
			n.trace()
		}
	}
}

// reportChanges logs each change of these: whether the storage and a quorum answer, the members, the refusals, and the limits
// that differ.
func (n *Node) reportChanges(now time.Duration) {
	n.reportStorage(now)
	if c := n.replica.Changes(); c != n.changes {
		n.changes = c
		peers := n.replica.Peers(now)
		n.reportQuorum(now, peers)
		n.reportRefusals(peers)
		n.reportMembers()
	}
}

// storageWait returns the time for which the storage has not answered, and the name of the call.
func (n *Node) storageWait(now time.Duration) (d time.Duration, call string) {
	d, call = n.replica.SaveWait(now), "Save"
	if n.reading > 0 {
		if load := n.loads.oldest(); load > d {
			return load, "Load"
		}
	}
	return d, call
}

// reportStorage logs one line when the storage does not answer, and one line when it answers again.
func (n *Node) reportStorage(now time.Duration) {
	wait, call := n.storageWait(now)
	hangs := wait >= n.config.Timing.Silence
	if hangs == n.hung {
		return
	}
	if n.hung = hangs; hangs {
		n.report.log(slog.LevelWarn, "the storage does not answer", "call", call, "for", wait)
	} else {
		n.report.log(slog.LevelInfo, "the storage answers again")
	}
}

// reportQuorum logs one line when the quorum is lost, and one line when it answers again. The number of calls that wait
// for it does not matter.
func (n *Node) reportQuorum(now time.Duration, peers []paxos.PeerStatus) {
	lost := n.replica.NoQuorum(now) > 0
	if lost == n.noQuorum {
		return
	}
	if n.noQuorum = lost; !lost {
		n.report.log(slog.LevelInfo, "a quorum answers again")
		return
	}
	var silent []uint64
	for _, p := range peers {
		if p.Votes && (p.Heard < 0 || p.Heard >= n.config.Timing.Phase) {
			silent = append(silent, uint64(p.ID))
		}
	}
	if wait := n.replica.SaveWait(now); wait >= n.config.Timing.Phase {
		n.report.log(slog.LevelWarn, "no quorum answers", "storage", wait, "silent", silent)
		return
	}
	n.report.log(slog.LevelWarn, "no quorum answers", "silent", silent)
}

// reportRefusals logs each new refusal, by a peer or of a peer, and each new difference from the limits of a peer.
func (n *Node) reportRefusals(peers []paxos.PeerStatus) {
	for _, p := range peers {
		was, now := n.told[p.ID], told{p.Refused, p.Limits}
		if now == was {
			continue
		}
		n.told[p.ID] = now
		if now.refused != was.refused && now.refused != "" {
			n.report.log(slog.LevelWarn, "peer refused", "peer", uint64(p.ID), "err", p.Refused)
		}
		if now.limits != was.limits && now.limits != "" {
			n.report.log(slog.LevelWarn, "limits differ from those of a peer", "peer", uint64(p.ID), "err", p.Limits)
		}
	}
}
