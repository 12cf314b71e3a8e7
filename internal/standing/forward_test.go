package standing_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/singledecree/paxos/internal/standing"
)

const (
	us = time.Microsecond
	ms = time.Millisecond
)

// forwarding returns a Forwarding to server 2. A classic attempt took that long, and so did a forwarded call; 0: there was none.
func forwarding(classic, forwarded time.Duration) *standing.Forwarding {
	f := &standing.Forwarding{}
	f.Saved(8 * ms) // 1 ms on average
	f.Wants(0, 2, 0)
	if classic != 0 {
		f.TookClassic(classic)
	}
	if forwarded != 0 {
		f.Took(forwarded)
	}
	return f
}

// wants returns how many of so many calls to server 2, at that time, are to be forwarded. The server was heard just now.
func wants(f *standing.Forwarding, now time.Duration, calls int) (n int) {
	for range calls {
		if f.Wants(now, 2, now) {
			n++
		}
	}
	return n
}

// Without a classic attempt there is nothing to compare with. Then calls are forwarded, until one of them has ended.
func TestForwardingFirst(t *testing.T) {
	assert.Zero(t, wants(forwarding(0, 0), ms, 200))
	assert.Zero(t, wants(forwarding(0, 5*us), ms, 200))
	assert.Equal(t, 200, wants(forwarding(ms, 0), ms, 200), "nothing of it is known yet")
}

// A forwarded call may take twice as long as a classic attempt, and a millisecond longer. One call in 64 goes the other way, and
// half as many each time, to one in 1,024.
func TestForwardingCompares(t *testing.T) {
	for _, tt := range []struct {
		classic, forwarded time.Duration
		wants              bool
	}{
		{100 * us, 50 * us, true},
		{100 * us, 200*us - 1, true},
		{100 * us, 200 * us, false},
		{30 * ms, 10 * ms, true},
		{30 * ms, 31*ms - 1, true},
		{30 * ms, 31 * ms, false},
	} {
		want := 3
		if tt.wants {
			want = 637
		}
		assert.Equal(t, want, wants(forwarding(tt.classic, tt.forwarded), ms, 640), "%s, forwarded %s", tt.classic, tt.forwarded)
	}
	f := forwarding(ms, ms)
	for i := 1; i <= 4000; i++ {
		other := slices.Contains([]int{64, 192, 448, 960, 1984, 3008}, i)
		assert.Equal(t, !other, f.Wants(ms, 2, ms), "call %d", i)
	}
}

// Where Saves take no time, a forwarded call has to be faster. Where they do, it may take four of them longer.
func TestForwardingSparesSaves(t *testing.T) {
	f := &standing.Forwarding{}
	f.Wants(0, 2, 0)
	f.TookClassic(100 * us)
	f.Took(100 * us)
	assert.Less(t, wants(f, ms, 64), 2)
	f.Saved(us)
	assert.Greater(t, wants(f, ms, 64), 62)

	f = &standing.Forwarding{}
	f.Saved(80 * us) // 10 us on average
	f.Wants(0, 2, 0)
	f.TookClassic(100 * us)
	f.Took(140 * us)
	assert.Less(t, wants(f, ms, 64), 2)
	f.Saved(18 * us) // 11 us
	assert.Greater(t, wants(f, ms, 64), 62)
}

// Times count by moving averages: each one by an eighth.
func TestForwardingAverages(t *testing.T) {
	f := forwarding(ms, ms)
	f.Took(17 * ms) // 3 ms on average: too long
	assert.Less(t, wants(f, ms, 64), 2)
	f.TookClassic(9 * ms) // 2 ms on average: the limit is 3 ms
	assert.Less(t, wants(f, ms, 64), 2)
	f.TookClassic(3 * ms)
	assert.Greater(t, wants(f, ms, 64), 62)
	f.Missed(10*time.Second, 10*ms, 10*time.Second) // a call that waits in vain counts with the classic attempt after it: 4.1 ms
	assert.Less(t, wants(f, 10*time.Second, 64), 2)

	f = forwarding(ms, ms)
	f.Refused(ms, 8500*us) // a refused one counts with the classic attempt after it: 9.5 ms, so 2.06 ms on average
	assert.Less(t, wants(f, ms, 64), 2)
	f = forwarding(ms, ms)
	f.Refused(ms, 7*ms) // 1.875 ms on average
	assert.Greater(t, wants(f, ms, 64), 62)
	f = forwarding(0, 0)
	f.TookClassic(0)
	assert.Equal(t, 64, wants(f, ms, 64), "a time too short for the clock is a time")
}

// A forwarded call waits for the usual time, and for 4 mean deviations more: for 5 ms at least, and 8 ms at most.
func TestForwardingHedge(t *testing.T) {
	assert.Equal(t, 100*us+5*ms, forwarding(100*us, 0).Hedge(), "as long as a classic attempt, while nothing else is known")
	assert.Equal(t, 20*us+5*ms, forwarding(100*us, 20*us).Hedge())
	assert.Equal(t, 3*ms+6*ms, forwarding(0, 3*ms).Hedge(), "the deviation of the first is half of it")
	assert.Equal(t, 30*ms+8*ms, forwarding(0, 30*ms).Hedge())
	f := forwarding(0, 8*ms) // 4 ms apart
	for range 100 {
		f.Took(8 * ms)
	}
	assert.Equal(t, 8*ms+5*ms, f.Hedge())
	f.Took(20 * ms) // 9.5 ms, and 1.5 ms apart
	assert.InDelta(t, 9500*us+6*ms, f.Hedge(), float64(10*us))
	f.Took(9500 * us) // 1.3 ms apart
	assert.InDelta(t, 9500*us+5250*us, f.Hedge(), float64(10*us))
}

// After four refusals in a row nothing is forwarded for a second. A call that comes through breaks the row.
func TestForwardingPausesWhenRefused(t *testing.T) {
	f := forwarding(ms, 0)
	for range 3 {
		f.Refused(ms, 0)
	}
	f.Took(us)
	for range 3 {
		f.Refused(ms, 0)
		assert.True(t, f.Wants(ms, 2, ms))
	}
	f.Refused(ms, 0)
	assert.Zero(t, wants(f, ms, 100))
	assert.Zero(t, wants(f, ms+time.Second-1, 100))
	assert.NotZero(t, wants(f, ms+time.Second, 10))
	for range 3 {
		f.Refused(ms+time.Second, 0)
	}
	assert.NotZero(t, wants(f, ms+time.Second, 10), "the row begins anew")
}

// If nothing was heard of the server while a call waited, nothing is forwarded to it until it has been heard for a second again.
func TestForwardingSuspects(t *testing.T) {
	at := 10 * time.Second
	missed := func(heard time.Duration) *standing.Forwarding {
		f := forwarding(time.Second, ms)
		f.Missed(at, 3*ms, heard)
		return f
	}
	for _, heard := range []time.Duration{at - 3*ms + 1, at} {
		assert.True(t, missed(heard).Wants(at, 2, heard), "it is only slow")
	}
	for _, heard := range []time.Duration{0, at - 3*ms} {
		f := missed(heard)
		assert.False(t, f.Wants(at, 2, heard))
		assert.False(t, f.Wants(at+time.Hour, 2, heard), "still silent")
		assert.False(t, f.Wants(at+time.Hour, 2, at), "heard when the call ended, and not since")
		back := at + time.Hour
		assert.False(t, f.Wants(back, 2, back-1), "heard again, just now")
		assert.False(t, f.Wants(back+time.Second-1, 2, back+time.Second-1))
		assert.True(t, f.Wants(back+time.Second, 2, back))
		assert.True(t, f.Wants(back+time.Second, 2, 0), "trusted again, until it is missed again")
	}
	f := missed(at - 3*ms)
	assert.False(t, f.Wants(at+ms, 2, at+ms))
	f.Missed(at+500*ms, 3*ms, at+ms)
	assert.False(t, f.Wants(at+time.Second+ms, 2, at+time.Second+ms), "a second silence begins anew")
	assert.False(t, f.Wants(at+2*time.Second, 2, at+2*time.Second))
	assert.True(t, f.Wants(at+2*time.Second+ms, 2, at+2*time.Second))
	f = forwarding(time.Second, ms)
	f.Missed(0, 0, 0) // at the origin of the clock
	assert.False(t, f.Wants(ms, 2, 0))
}

// Calls that were forwarded to the server that stood before say nothing of the next one. A classic attempt takes as long as before.
func TestForwardingToAnother(t *testing.T) {
	f := forwarding(ms, time.Second)
	for range 4 {
		f.Refused(ms, 0)
	}
	f.Missed(ms, ms, 0)
	assert.Zero(t, wants(f, time.Hour, 10))
	assert.True(t, f.Wants(2*ms, 3, 0))
	assert.Equal(t, 6*ms, f.Hedge())
	assert.False(t, forwarding(0, 0).Wants(ms, 3, ms))
}
