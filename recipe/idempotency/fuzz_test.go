package idempotency_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/idempotency"
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

// FuzzIdempotency: any values are a state, or an error that names the instance.
func FuzzIdempotency(f *testing.F) {
	f.Add("idempotency/1 reserved nonce me\n2026-11-29T07:00:00Z\nrequest", "idempotency/1 response nonce me\nresponse")
	f.Add("idempotency/1 reserved nonce me\nlong ago\n", "idempotency/1 abandoned nonce me")
	f.Fuzz(func(t *testing.T, first, second string) {
		s, err := idempotency.New(fixed{first, second}, "pay", "me")
		require.NoError(t, err)
		e, err := s.Look(t.Context(), "k")
		if err != nil {
			require.ErrorIs(t, err, idempotency.ErrValue)
			require.ErrorContains(t, err, "pay/k/")
		} else {
			require.NotEqual(t, idempotency.Free, e.Phase)
		}
	})
}
