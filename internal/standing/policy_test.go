package standing_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/standing"
)

// wishes notes so many attempts at a time, and returns what the last one says.
func wishes(p *standing.Policy, now time.Duration, times int) (wants bool) {
	for range times {
		wants = p.Wish(now)
	}
	return wants
}

// A server stands if it has begun four attempts of late that would have been one round trip shorter.
func TestPolicyWish(t *testing.T) {
	p := &standing.Policy{Alive: time.Second}
	assert.False(t, wishes(p, time.Second, 3))
	assert.True(t, p.Wish(time.Second))
	assert.True(t, p.Wants(time.Second))
	assert.False(t, p.Wants(2*time.Second), "each second halves the count")
	assert.True(t, wishes(p, 2*time.Second, 2))
	assert.False(t, p.Wants(time.Hour))
	assert.False(t, wishes(p, time.Hour, 3))
	assert.True(t, p.Wish(time.Hour))
}

// A server stands once in a second at most.
func TestPolicyPause(t *testing.T) {
	p := &standing.Policy{Alive: time.Second}
	p.Stands(10 * time.Second)
	assert.False(t, wishes(p, 11*time.Second-1, 100))
	assert.True(t, p.Wants(11*time.Second))
}

// A server does not stand while another one does.
func TestPolicyOther(t *testing.T) {
	p := &standing.Policy{Alive: time.Second}
	p.OtherStands(10 * time.Second)
	assert.False(t, wishes(p, 10*time.Second, 5))
	assert.False(t, wishes(p, 11*time.Second-1, 5))
	assert.True(t, wishes(p, 11*time.Second, 5), "nothing was heard of it for a second")
	p.OtherUses(12*time.Second, false)
	assert.False(t, wishes(p, 12*time.Second, 5))
	assert.False(t, wishes(p, 13*time.Second-1, 5))
	assert.True(t, wishes(p, 13*time.Second, 5))
}

// A server that is much busier than the one that stands takes over after ten seconds, and not again for ten more.
func TestPolicyHandover(t *testing.T) {
	p := &standing.Policy{Alive: time.Second}
	at := 100 * time.Second
	run := func(own, other int, lasts time.Duration) (wants bool) {
		for end := at + lasts; at < end; at += 500 * time.Millisecond {
			for range other {
				p.OtherUses(at, false)
			}
			wants = wishes(p, at, own) || wants
		}
		return wants
	}
	assert.False(t, run(8, 2, time.Minute), "four times as busy is not enough")
	assert.False(t, run(60, 2, 9*time.Second))
	assert.True(t, run(60, 2, 6*time.Second), "the counts take some seconds to rise")
	p.Stands(at)
	assert.False(t, run(60, 2, 9*time.Second))
	assert.True(t, run(60, 2, 3*time.Second))
	p.Stands(at)
	assert.False(t, run(60, 2, 6*time.Second))
	assert.False(t, run(60, 10, 6*time.Second), "then it is busy itself")
	assert.False(t, run(60, 2, 6*time.Second), "the ten seconds begin anew")
}

// A ballot that is lost soon makes the server wait longer each time; one that lives for a minute makes up for that.
func TestPolicyLost(t *testing.T) {
	p := &standing.Policy{Alive: time.Second}
	at := 100 * time.Second
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		p.Stands(at)
		at += 2 * time.Second
		p.Lost(at)
		assert.False(t, wishes(p, at+wait*time.Second-1, 5), "%d", wait)
		at += wait * time.Second
		assert.True(t, wishes(p, at, 5), "%d", wait)
	}
	p.Stands(at)
	at += 30 * time.Second
	p.Lost(at)
	assert.True(t, wishes(p, at, 5), "it lived long enough")
	p.Stands(at)
	at += 9 * time.Second
	p.Lost(at)
	assert.False(t, wishes(p, at+60*time.Second-1, 5), "and not for long enough to forget what was before")
	at += time.Hour
	p.Stands(at)
	at += time.Minute
	p.Lost(at)
	p.Stands(at)
	at += time.Second
	p.Lost(at)
	assert.True(t, wishes(p, at+time.Second, 5))
}

// Three attempts that lose, one after the other, end a ballot.
func TestPolicySuperseded(t *testing.T) {
	p := &standing.Policy{Alive: time.Second}
	assert.False(t, p.Superseded())
	assert.False(t, p.Superseded())
	p.Chosen()
	assert.False(t, p.Superseded())
	assert.False(t, p.Superseded())
	assert.True(t, p.Superseded())
	p.Stands(time.Second)
	assert.False(t, p.Superseded(), "a new ballot begins anew")
}

// Between regions, half of the forwarded calls take 60 ms, and a classic attempt takes 100 ms. The other half wait in vain, and then take a classic
// attempt more. That is slower than 100 ms on average, so few calls are forwarded.
func TestForwardingCountsTheWholeCall(t *testing.T) {
	f := &standing.Forwarding{}
	const at, classic, forwarded = time.Hour, 100 * time.Millisecond, 60 * time.Millisecond
	f.TookClassic(classic)
	took, calls := time.Duration(0), 0
	for i := range 2000 {
		switch {
		case !f.Wants(at, 2, at):
			f.TookClassic(classic)
			took += classic
		case i%2 == 0:
			f.Took(forwarded)
			took += forwarded
		default:
			waits := f.Hedge()
			f.Missed(at, waits, at)
			took += waits + classic
			calls++
		}
	}
	assert.Less(t, calls, 100)
	assert.Less(t, took/2000, 110*time.Millisecond)
}

// Round trips between regions vary by more than 8 ms. A call waits for a quarter of the usual time more, if they do, so few calls hedge in vain.
func TestForwardingBetweenRegions(t *testing.T) {
	f := &standing.Forwarding{}
	f.TookClassic(300 * time.Millisecond)
	hedges := 0
	for i := range 1000 {
		require.False(t, f.Hedge() > 400*time.Millisecond)
		d := 250*time.Millisecond + time.Duration(i*7919%41-20)*2*time.Millisecond
		if d > f.Hedge() {
			hedges++
		}
		f.Took(d)
	}
	assert.Less(t, hedges, 10)
}

// Calls that go the slower way are few where the other way stays faster, so the slow ones do not show in a 99th percentile. A server that was slow
// for a while gets its calls back soon.
func TestForwardingTriesSeldom(t *testing.T) {
	const at = time.Hour
	f := &standing.Forwarding{}
	f.TookClassic(100 * time.Millisecond)
	run := func(calls int, forwarded time.Duration) (slow, fast int) {
		for range calls {
			if f.Wants(at, 2, at) {
				f.Took(forwarded)
				fast++
			} else {
				f.TookClassic(100 * time.Millisecond)
				slow++
			}
		}
		return slow, fast
	}
	classic, _ := run(5000, 60*time.Millisecond)
	assert.Less(t, classic, 12)
	run(20, 500*time.Millisecond) // it stands still for a moment
	_, forwarded := run(5000, 500*time.Millisecond)
	assert.Less(t, forwarded, 12)
	run(2000, 60*time.Millisecond)
	classic, _ = run(1000, 60*time.Millisecond)
	assert.Less(t, classic, 20)
}
