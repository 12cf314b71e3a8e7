package once_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/once"
)

// fixed are two registers with any values.
type fixed struct{ first, second string }

func (f fixed) Propose(ctx context.Context, instance string, _ paxos.Value) (paxos.Decision, error) {
	d, _, err := f.Read(ctx, instance)
	return d, err
}

func (f fixed) Read(_ context.Context, instance string) (paxos.Decision, bool, error) {
	switch {
	case strings.HasSuffix(instance, "1"):
		return paxos.Decision{Instance: instance, Value: paxos.Value(f.first)}, true, nil
	case strings.HasSuffix(instance, "2"):
		return paxos.Decision{Instance: instance, Value: paxos.Value(f.second)}, true, nil
	}
	return paxos.Decision{}, false, nil
}

// FuzzOnce: any values are a state, or an error that names the instance.
func FuzzOnce(f *testing.F) {
	f.Add("once/1 claim nonce me", "once/1 done nonce me\nresult")
	f.Add("once/1 claim nonce", "once/2")
	f.Fuzz(func(t *testing.T, first, second string) {
		job, err := once.New(fixed{first, second}, "job")
		require.NoError(t, err)
		s, err := job.State(t.Context())
		if err != nil {
			require.ErrorIs(t, err, once.ErrValue)
			require.ErrorContains(t, err, "job/00000000")
		} else {
			require.NotZero(t, s.Token)
		}
	})
}
