package standing

import "time"

// Numbers of a [Forwarding]. No safety is in them. docs/performance.md has what was measured.
const (
	leastSpare    = 5 * time.Millisecond // a forwarded call has at least so much longer than others took
	mostSpare     = 8 * time.Millisecond // and at most so much, or a quarter of that
	mostLoss      = time.Millisecond     // a forwarded call may take so much longer than a classic attempt
	savesWorth    = 4                    // so many Saves of this server longer at most
	tryOneIn      = 64                   // of so many calls one goes the way that was slower of late
	tryHalved     = 4                    // as long as that was right each time, half as many do, so many times
	mostRefusals  = 4                    // refused calls, one after the other, until there is a pause
	refusalPause  = time.Second
	suspicionTime = time.Second // for so long a server that was silent must be heard, until calls are forwarded to it again
)

// A lately is a moving average of times, and of how far they are from it.
type lately struct{ mean, apart time.Duration }

func (l *lately) add(d time.Duration) {
	if l.mean == 0 {
		l.mean, l.apart = max(d, 1), d/2
		return
	}
	l.apart += (max(d-l.mean, l.mean-d) - l.apart) / 8
	l.mean = max(l.mean+(d-l.mean)/8, 1)
}

// A Forwarding decides which calls a server forwards to the server that stands, and for how long each waits there. Where Saves take time, on
// one site, it forwards nearly all: that spares each server one of two Saves, so more calls come through. Elsewhere it forwards if that was
// faster of late.
//
// Times are monotonic, from any fixed origin, and after 0. Its methods are not safe for concurrent use.
type Forwarding struct {
	to        uint64        // the server that stands
	forwarded lately        // how long a forwarded call took
	classic   lately        // how long a classic attempt of this server took
	save      time.Duration // how long a Save of this server took of late
	calls     uint64        // how many were asked about, since one went the way that was slower
	tries     int           // how many did, one after the other, and took longer
	refusals  int           // one after the other
	until     time.Duration
	silent    time.Duration // when a call had waited there in vain, and the server was silent; 0: never
	back      time.Duration // when it was heard again; 0: not yet
}

// Wants reports whether the next call is to be forwarded to that server, which stands, and was last heard at that time.
func (f *Forwarding) Wants(now time.Duration, to uint64, heard time.Duration) bool {
	if f.to != to {
		*f = Forwarding{to: to, classic: f.classic, save: f.save}
	}
	if f.isSuspect(now, heard) || now < f.until || f.classic.mean == 0 {
		return false
	}
	f.calls++
	if f.forwarded.mean == 0 {
		return true
	}
	if f.calls < tryOneIn<<min(f.tries, tryHalved) {
		return f.pays(f.forwarded.mean, f.classic.mean)
	}
	f.calls = 0
	f.tries++
	return !f.pays(f.forwarded.mean, f.classic.mean)
}

// pays reports whether calls are forwarded, if a forwarded call takes that long, and a classic attempt that long.
// Where Saves take time, a forwarded call may take longer: it spares each server one of two Saves.
func (f *Forwarding) pays(forwarded, classic time.Duration) bool {
	return forwarded < classic+min(classic, savesWorth*f.save, mostLoss)
}

// Saved notes how long a Save of this server took.
func (f *Forwarding) Saved(d time.Duration) { f.save += (d - f.save) / 8 }

// isSuspect reports whether the server was silent, and was not heard for long enough since.
func (f *Forwarding) isSuspect(now, heard time.Duration) bool {
	switch {
	case f.silent == 0:
		return false
	case heard <= f.silent:
		f.back = 0
		return true
	case f.back == 0:
		f.back = now
		return true
	case now-f.back < suspicionTime:
		return true
	}
	f.silent, f.back = 0, 0
	return false
}

// IsTo reports whether that is the server to which calls were forwarded last. The time of a call at another server says nothing of it.
func (f *Forwarding) IsTo(server uint64) bool { return f.to == server }

// Hedge returns for how long a forwarded call waits. After that this server goes on by itself.
func (f *Forwarding) Hedge() time.Duration {
	usual := f.forwarded
	if usual.mean == 0 {
		usual = f.classic
	}
	return usual.mean + min(max(4*usual.apart, leastSpare), max(mostSpare, usual.mean/4))
}

// Took notes that a forwarded call has ended with a decision, after that time.
func (f *Forwarding) Took(d time.Duration) {
	f.refusals = 0
	if f.forwarded.mean != 0 && !f.pays(f.forwarded.mean, f.classic.mean) && f.pays(d, f.classic.mean) {
		f.tries, f.forwarded.mean = 0, (f.forwarded.mean+d)/2 // few calls are tried
	}
	f.forwarded.add(d)
}

// TookClassic notes that a classic attempt of this server has come through, after that time.
func (f *Forwarding) TookClassic(d time.Duration) {
	if f.classic.mean != 0 && f.pays(f.forwarded.mean, f.classic.mean) && !f.pays(f.forwarded.mean, d) {
		f.tries, f.classic.mean = 0, (f.classic.mean+d)/2
	}
	f.classic.add(d)
}

// Missed notes that a forwarded call has waited for that time in vain. Its classic attempt comes after that, and is a part of its time. The
// server was last heard at heard.
func (f *Forwarding) Missed(now, waited, heard time.Duration) {
	f.forwarded.add(waited + f.classic.mean)
	if heard <= now-waited {
		f.silent, f.back = max(now, 1), 0
	}
}

// Refused notes that the server has refused a forwarded call, after that time.
func (f *Forwarding) Refused(now, waited time.Duration) {
	f.forwarded.add(waited + f.classic.mean)
	if f.refusals++; f.refusals >= mostRefusals {
		f.refusals, f.until = 0, now+refusalPause
	}
}
