package term_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/term"
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

func (f fixed) Wait(ctx context.Context, instance string) (paxos.Decision, error) {
	return f.Propose(ctx, instance, "")
}

// FuzzTerm: any values are a state, or an error that names the instance.
func FuzzTerm(f *testing.F) {
	f.Add("term/1 leader nonce me", "term/1 vacant nonce me")
	f.Add("term/1 vacant nonce me", "term/1 leader nonce me\nmore")
	f.Fuzz(func(t *testing.T, first, second string) {
		e, err := term.New(fixed{first, second}, "shard")
		require.NoError(t, err)
		s, err := e.State(t.Context())
		if err != nil {
			require.ErrorIs(t, err, term.ErrValue)
			require.ErrorContains(t, err, "shard/00000000")
		} else {
			require.NotZero(t, s.Term)
		}
	})
}
