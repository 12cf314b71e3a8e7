package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A register of names in memory. Each Propose first takes an error out of fails, if there is one left.
type register struct {
	decided map[string]paxos.Value
	fails   []error
	reads   int
	tries   []time.Time
}

func newRegister() *register { return &register{decided: map[string]paxos.Value{}} }

func (r *register) Propose(_ context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	r.tries = append(r.tries, time.Now())
	if len(r.fails) > 0 {
		err := r.fails[0]
		r.fails = r.fails[1:]
		return paxos.Decision{}, err
	}
	if was, ok := r.decided[instance]; ok {
		v = was
	}
	r.decided[instance] = v
	return paxos.Decision{Instance: instance, Value: v}, nil
}

func (r *register) Read(_ context.Context, instance string) (d paxos.Decision, ok bool, err error) {
	r.reads++
	v, ok := r.decided[instance]
	return paxos.Decision{Instance: instance, Value: v}, ok, nil
}

func newChain(t *testing.T, r Register) *Chain {
	c, err := New(r, "test", "job", Digits)
	require.NoError(t, err)
	return c
}

func unsent(err error) error {
	return &paxos.OpError{Op: "propose", Instance: "job/000000001", Err: err, Unsent: true}
}

func unknownOutcome(err error) error {
	return &paxos.OpError{Op: "propose", Instance: "job/000000001", Err: err}
}

// The names of registers are in the order of their numbers, up to the last one, and the longest name has room for it.
func TestNames(t *testing.T) {
	c := newChain(t, newRegister())
	assert.Equal(t, "job/000000001", c.Instance(1))
	assert.Less(t, c.Instance(9), c.Instance(10))
	long, err := New(newRegister(), "test", strings.Repeat("n", paxos.MaxName-1-Digits), Digits)
	require.NoError(t, err)
	assert.NoError(t, paxos.CheckInstance(long.Instance(MaxNumber)))
	_, err = New(newRegister(), "test", strings.Repeat("n", paxos.MaxName-Digits), Digits)
	assert.ErrorIs(t, err, paxos.ErrTooLarge)
	_, err = New(newRegister(), "test", "", Digits)
	assert.ErrorIs(t, err, paxos.ErrName)
}

// The end of a chain is found once, and then from there on. Nothing that is known is forgotten, in whatever order it comes.
func TestLast(t *testing.T) {
	r := newRegister()
	c := newChain(t, r)
	value := func(n uint64) Value { return Value{Kind: "claim", Nonce: fmt.Sprint("n", n), Who: "who"} }
	for n := range uint64(3) {
		r.decided[c.Instance(n+1)] = value(n + 1).Text("test")
	}
	n, v, err := c.Last(t.Context(), 2)
	require.NoError(t, err)
	assert.Equal(t, uint64(2), n, "as far as was asked")
	assert.Equal(t, value(2), v)
	n, v, err = c.Last(t.Context(), MaxNumber)
	require.NoError(t, err)
	assert.Equal(t, uint64(3), n)
	assert.Equal(t, value(3), v)
	assert.Equal(t, 4, r.reads, "each register once, and the one after the last")
	_, err = c.Learn(2, value(2).Text("test"))
	require.NoError(t, err)
	n, v = c.Known()
	assert.Equal(t, uint64(3), n)
	assert.Equal(t, value(3), v)
	r.decided[c.Instance(4)] = "another service wrote this"
	_, _, err = c.Last(t.Context(), MaxNumber)
	assert.ErrorIs(t, err, ErrValue)
	assert.False(t, paxos.Unknown(err), "it says what is decided")
}

// An offer is mine if the chosen bytes are its own, and nobody else's, though they look alike.
func TestOfferIsMineByItsBytes(t *testing.T) {
	r := newRegister()
	c := newChain(t, r)
	mine := Value{Kind: "claim", Nonce: "1", Who: "a"}
	v, ok, err := c.Offer(1, mine).Make(t.Context())
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, mine, v)
	v, ok, err = c.Offer(1, Value{Kind: "claim", Nonce: "2", Who: "a"}).Make(t.Context())
	require.NoError(t, err)
	assert.False(t, ok)
	assert.Equal(t, mine, v)
}

// An offer is made again after an error that may pass, with pauses that grow to a second, and not after one that stays.
func TestOfferIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegister()
		c := newChain(t, r)
		for range 12 {
			r.fails = append(r.fails, unknownOutcome(context.DeadlineExceeded))
		}
		_, ok, err := c.Offer(1, Value{Kind: "claim", Nonce: "1"}).Make(t.Context())
		require.NoError(t, err)
		assert.True(t, ok)
		require.Len(t, r.tries, 13)
		assert.Equal(t, 5*time.Millisecond, r.tries[1].Sub(r.tries[0]))
		assert.Equal(t, 10*time.Millisecond, r.tries[2].Sub(r.tries[1]))
		assert.Equal(t, time.Second, r.tries[12].Sub(r.tries[11]))
	})
	for _, final := range []error{paxos.ErrName, paxos.ErrTooLarge, paxos.ErrForgotten, paxos.ErrClosed, paxos.ErrRounds, paxos.ErrNotMember,
		&paxos.SafetyError{Instance: "job/000000001", Reason: "two values were decided"}} {
		r := newRegister()
		r.fails = []error{unsent(final)}
		_, ok, err := newChain(t, r).Offer(1, Value{Kind: "claim", Nonce: "1"}).Make(t.Context())
		require.Error(t, err, "%v", final)
		assert.False(t, ok)
		assert.Len(t, r.tries, 1, "%v", final)
		assert.False(t, paxos.Unknown(err), "nothing has left: %v", err)
	}
}

// The doubt that one try has left stays, whatever comes after it, and over all calls of Make: the value may be chosen all the same.
func TestDoubtStays(t *testing.T) {
	r := newRegister()
	r.fails = []error{unknownOutcome(context.DeadlineExceeded), unsent(paxos.ErrClosed), unsent(paxos.ErrClosed)}
	offer := newChain(t, r).Offer(1, Value{Kind: "claim", Nonce: "1"})
	for range 2 {
		_, _, err := offer.Make(t.Context())
		require.Error(t, err)
		assert.True(t, paxos.Unknown(err), "%v", err)
		assert.ErrorIs(t, err, paxos.ErrClosed, "the cause comes first")
		assert.Contains(t, err.Error(), "an earlier try left the outcome unknown")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.fails = []error{unsent(context.Canceled)}
	_, _, err := newChain(t, r).Offer(1, Value{Kind: "claim", Nonce: "1"}).Make(ctx)
	assert.False(t, paxos.Unknown(err), "of another offer: %v", err)
	assert.ErrorIs(t, err, context.Canceled)
}

// A context that ends during a pause ends Make, with the last error.
func TestOfferEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegister()
		for range 100 {
			r.fails = append(r.fails, unsent(paxos.ErrBusy))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, _, err := newChain(t, r).Offer(1, Value{Kind: "claim", Nonce: "1"}).Make(ctx)
		assert.ErrorIs(t, err, paxos.ErrBusy)
		assert.False(t, paxos.Unknown(err))
		assert.Equal(t, 100*time.Millisecond, time.Since(began))
	})
}

// A value comes back from its text, and a text that no value has is refused.
func TestValueText(t *testing.T) {
	for _, v := range []Value{{"claim", "n", "who", ""}, {"claim", "n", "", "body"}, {"done", "n", "a name with spaces", "two\nlines\n"}} {
		again, err := Parse("test", v.Text("test"))
		require.NoError(t, err)
		assert.Equal(t, v, again)
	}
	for _, text := range []paxos.Value{"", "test/1", "test/1 claim", "test/1 claim n", "test/2 claim n who", "other/1 claim n who", "test/1 claim n who\n"} {
		_, err := Parse("test", text)
		assert.ErrorIs(t, err, ErrValue, "%q", text)
	}
	assert.NoError(t, CheckNonce("n1"))
	for _, bad := range []string{"", "a b", "a\nb", strings.Repeat("n", MaxWho+1)} {
		assert.Error(t, CheckNonce(bad), "%q", bad)
	}
	assert.True(t, errors.Is(CheckNonce("a b"), paxos.ErrName))
}

// A caller that makes the same offer again has the doubt of the one before, and with another offer it has none.
func TestLatestOffer(t *testing.T) {
	r := newRegister()
	c := newChain(t, r)
	r.fails = []error{unknownOutcome(paxos.ErrClosed), unsent(paxos.ErrClosed), unsent(paxos.ErrClosed), unsent(paxos.ErrClosed)}
	var latest Latest
	for i, test := range []struct {
		n       uint64
		nonce   string
		unknown bool
	}{{1, "1", true}, {1, "1", true}, {2, "1", false}, {1, "2", false}} {
		_, _, err := latest.Offer(c, test.n, Value{Kind: "claim", Nonce: test.nonce}).Make(t.Context())
		require.Error(t, err)
		assert.Equal(t, test.unknown, paxos.Unknown(err), "%d: %v", i, err)
	}
}
