package node

import (
	"log/slog"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// reportAll reports what an Output holds for the user.
func (n *Node) reportAll(out *replica.Output) {
	for _, f := range out.Faults {
		n.report.log(slog.LevelError, "protocol broken: the instance has stopped", "instance", f.Instance,
			"ballot", f.Ballot.String(), "err", f)
	}
	if len(out.Events) > 0 {
		n.report.events.add(out.Events)
	}
}

// reportChanges logs what has changed: whether the storage and a quorum answer, and who takes nothing from whom.
func (n *Node) reportChanges(now time.Duration) {
	n.reportStorage(now)
	if c := n.replica.Changes(); c != n.changes {
		n.changes = c
		peers := n.replica.Peers(now)
		n.reportQuorum(now, peers)
		n.reportRefusals(peers)
	}
}

// storageWait returns for how long the storage has not answered, and which call.
func (n *Node) storageWait(now time.Duration) (d time.Duration, call string) {
	d, call = n.replica.SaveWait(now), "Save"
	if n.reading > 0 {
		if load := n.loads.oldest(); load > d {
			return load, "Load"
		}
	}
	return d, call
}

// reportStorage logs that the storage does not answer, and that it answers again: one line each.
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

// reportQuorum logs a loss of the quorum, and its end: one line each, whatever waits for it.
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

// reportRefusals logs what each peer refuses or is refused for, and limits that differ, where that is new.
func (n *Node) reportRefusals(peers []paxos.PeerStatus) {
	for i, p := range peers {
		if p.Refused != n.refused[i] {
			if n.refused[i] = p.Refused; p.Refused != "" {
				n.report.log(slog.LevelWarn, "peer refused", "peer", uint64(p.ID), "err", p.Refused)
			}
		}
		if p.Limits != n.limits[i] {
			if n.limits[i] = p.Limits; p.Limits != "" {
				n.report.log(slog.LevelWarn, "limits differ from those of a peer", "peer", uint64(p.ID), "err", p.Limits)
			}
		}
	}
}
