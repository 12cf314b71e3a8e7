package replica

import "time"

// How a server notices that no quorum is left. Attempts and questions notice it when their answers do not come. A server
// that asks nothing listens. Each two servers take turns with a Pull (see catchup.go), so each hears the other every
// other Timing.Pull.
//
//	server 1                                                server 2
//	  ── Pull, then it is the turn of server 2 ──────────────►
//	  ◄──────────────── a Timing.Pull later: Pull, the turn of server 1 ──
//	  … server 1 has heard no quorum for long:
//	  ── Pull, out of turn: a sign is wanted ─────────────────►
//	  ◄───────────────────────────── Pull, at once ──
//
// A quorum is missing when it was silent for two Timing.Pull, and was asked for the last two Timing.Phase of that time.

// A quorumWatch knows whether quorums answer. It notes a loss and its end once each, however many calls time out meanwhile.
type quorumWatch struct {
	lost    bool
	silent  bool // the loss was noticed because no quorum was heard
	since   time.Duration
	changes uint64

	began time.Duration // when the first Save was done
	at    time.Duration // when to look next; 0: when an acceptor is heard
	asked int           // how often signs were asked for since a quorum was heard
}

// begin begins the watch. The first look is due at that time.
func (w *quorumWatch) begin(now, at time.Duration) { w.began, w.at = now, at }

// heardNow is called with each packet that is taken from an acceptor.
func (w *quorumWatch) heardNow(now time.Duration) {
	if w.at == 0 && w.asked > 0 {
		w.at = max(now, 1)
	}
}

// answers is called with true when an attempt or a question got its quorum, and with false when one has been without for a
// while.
func (w *quorumWatch) answers(yes bool, now time.Duration) {
	w.silent = false
	if w.lost == yes {
		w.lost, w.since = !yes, now
		w.changes++
	}
}

// next returns when a look is due; 0: when an acceptor is heard.
func (w *quorumWatch) next() time.Duration { return w.at }

// due reports whether it is time for a look.
func (w *quorumWatch) due(now time.Duration) bool { return w.at != 0 && w.at <= now }

// signs says which acceptors are to be asked for a sign.
type signs uint8

const (
	signsNone   signs = iota
	signsQuorum       // as many as a quorum needs
	signsAll          // every acceptor that was not heard just now
)

// look checks whether a quorum was heard, and says what to do. heard is the time since which one was heard; listens is how
// long a silence may be. idle: no answers are waited for.
func (w *quorumWatch) look(now, heard, listens, phase time.Duration, idle bool) (ask signs) {
	switch {
	case now-heard < listens:
		w.asked, w.at = 0, heard+listens
		// A quorum that was lost for want of answers comes back by an answer. If nothing is asked any more, to hear it is enough.
		if w.lost && heard > w.since && (w.silent || idle) {
			w.answers(true, now)
		}
	case w.asked < 2:
		ask = signsQuorum
		if w.asked > 0 {
			ask = signsAll
		}
		w.asked++
		w.at = now + phase
	default:
		w.at = 0
		if !w.lost {
			w.answers(false, now)
			w.silent = true
		}
	}
	return ask
}

// isLost reports whether no quorum answers.
func (w *quorumWatch) isLost() bool { return w.lost }

// lostFor returns for how long no quorum has answered; 0: one answers.
func (w *quorumWatch) lostFor(now time.Duration) time.Duration {
	if !w.lost {
		return 0
	}
	return max(now-w.since, 1)
}

// changed counts each loss and its end.
func (w *quorumWatch) changed() uint64 { return w.changes }

// from returns the later one of that time and the begin of the watch.
func (w *quorumWatch) from(at time.Duration) time.Duration { return max(at, w.began) }
