package standing

import "time"

// Numbers of a [Policy]. No safety is in them.
const (
	leastWishes  = 4                // attempts that a standing ballot would have helped, of late, for it to be worth the trouble
	leastPause   = time.Second      // between two standing ballots of one server
	soonLost     = 10 * time.Second // a ballot that is lost before was not worth it
	mostPause    = time.Minute      // after many of these, one after the other
	handoverTime = 10 * time.Second // for so long this server must be much busier than the one that stands, to stand in its place
	handoverMore = 8                // by so many times
	mostLosses   = 3                // attempts in the ballot that lost against other ballots, one after the other, until it is given up
)

// A rate counts events of late: each second halves the count.
type rate struct {
	n  uint64
	at time.Duration
}

func (r *rate) add(now time.Duration) { r.n = r.count(now) + 1 }

func (r *rate) count(now time.Duration) uint64 {
	if d := (now - r.at) / time.Second; d > 0 {
		r.n >>= min(d, 63)
		r.at += d * time.Second
	}
	return r.n
}

// A Policy decides when a server asks to stand. Each server that stands makes the attempts in flight below its ballot begin anew, at all
// servers. So a server stands only if it is worth that, seldom, and not while another one does.
//
// Times are monotonic, from any fixed origin, and after 0. Its methods are not safe for concurrent use.
type Policy struct {
	// Alive is how long another server's ballot counts as alive after the last sign of it.
	Alive time.Duration

	wishes rate          // attempts that a standing ballot would have helped
	others rate          // votes cast here in the ballot of another server
	other  time.Duration // the last sign of it; 0: there was none
	used   bool          // this acceptor has voted in the ballot that it has now
	ahead  time.Duration // since when this server is much busier than it; 0: it is not
	stood  time.Duration // when this server stood last; 0: never
	lost   int           // ballots that were lost soon, one after the other
	until  time.Duration // it does not stand before
	losses int           // see Superseded
}

// Wish notes that a classic attempt begins, for a call, in an ordinary name of which this server has no record. It reports whether this
// server should stand now: see Wants.
func (p *Policy) Wish(now time.Duration) (wants bool) {
	p.wishes.add(now)
	return p.Wants(now)
}

// Wants reports whether this server should stand now.
func (p *Policy) Wants(now time.Duration) bool {
	wishes := p.wishes.count(now)
	if !p.IsOtherAlive(now) || wishes <= handoverMore*p.others.count(now) {
		p.ahead = 0
	} else if p.ahead == 0 {
		p.ahead = now
	}
	switch {
	case wishes < leastWishes || now < p.until || p.stood != 0 && now-p.stood < leastPause:
		return false
	case !p.IsOtherAlive(now):
		return true
	}
	return p.ahead != 0 && now-p.ahead >= handoverTime && (p.stood == 0 || now-p.stood >= handoverTime)
}

// IsOtherAlive reports whether another server stands, and was at work within Alive.
func (p *Policy) IsOtherAlive(now time.Duration) bool { return p.other != 0 && now-p.other < p.Alive }

// IsOtherAtWork reports whether another server stands, has used its ballot, and was at work within Alive.
func (p *Policy) IsOtherAtWork(now time.Duration) bool { return p.used && p.IsOtherAlive(now) }

// OtherStands notes that this acceptor has promised the ballot of another server. That server may not use it yet.
func (p *Policy) OtherStands(now time.Duration) { p.other, p.used = max(now, 1), false }

// OtherEnds notes that the ballot of another server is over.
func (p *Policy) OtherEnds() { p.other, p.used = 0, false }

// OtherUses notes that this acceptor has voted in the ballot of another server that it has promised. If the value is not forwarded by this server,
// the other server is the busier for it.
func (p *Policy) OtherUses(now time.Duration, forwarded bool) {
	p.other, p.used = max(now, 1), true
	if !forwarded {
		p.others.add(now)
	}
}

// Stands notes that this server has asked the acceptors to stand by its ballot.
func (p *Policy) Stands(now time.Duration) {
	p.stood, p.losses, p.ahead = max(now, 1), 0, 0
}

// Lost notes that the ballot of this server is over, as another one is above it, or as it did not help.
func (p *Policy) Lost(now time.Duration) {
	switch lived := now - p.stood; {
	case lived < soonLost:
		p.lost = min(p.lost+1, 30)
		p.until = now + min(leastPause<<(p.lost-1), mostPause)
	case lived >= mostPause:
		p.lost = 0
	}
}

// Chosen notes that an attempt in the ballot has come through.
func (p *Policy) Chosen() { p.losses = 0 }

// Superseded notes that an attempt in the ballot lost against another ballot. It reports whether the ballot is to be given up.
func (p *Policy) Superseded() (giveUp bool) {
	p.losses++
	return p.losses >= mostLosses
}
