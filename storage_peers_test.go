package paxos

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The text of ServerState.Peers, and the changes that a Batch may make in it.
func TestPeersText(t *testing.T) {
	var state ServerState
	for _, id := range []ServerID{5, 1, 3, math.MaxUint64, 4, 2} {
		state = state.WithStore(id, uint64(id)<<8|1)
	}
	assert.Equal(t, "1/101,2/201,3/301,4/401,5/501,18446744073709551615/ffffffffffffff01", state.Peers)
	stores, err := state.Stores()
	require.NoError(t, err)
	assert.Len(t, stores, 6)
	assert.Equal(t, uint64(0x301), stores[3])
	for _, bad := range []string{"1", "1/", "/1", "1/x", "0/1", "1/0", "1/1,", ",1/1", "1/1,,2/1", "2/1,1/1", "1/1,1/1", "1/1/1", "-1/1", "1/1ffffffffffffffff"} {
		_, err := ServerState{Peers: bad}.Stores()
		assert.ErrorContains(t, err, "ServerState.Peers", "%q", bad)
		assert.ErrorContains(t, checkPeers("", bad), "ServerState.Peers", "%q", bad)
	}
	for _, tt := range []struct{ last, next, want string }{
		{"", "", ""}, {"", "1/1", ""}, {"2/1", "2/1", ""}, {"2/1", "1/5,2/1,3/9", ""}, {"1/1,3/3", "1/1,2/2,3/3", ""},
		{"2/1", "", "lacks"}, {"1/1,2/1", "1/1", "lacks"}, {"2/1", "2/2", "taken back nor changed"}, {"1/1,2/1", "2/1", "taken back nor changed"},
		{"1/1,2/2,3/3", "1/1,3/3", "taken back nor changed"}, {"2/1", "1/1", "lacks"}, {"2/1", "2/1,2/2", "want server/store"},
	} {
		if err := checkPeers(tt.last, tt.next); tt.want == "" {
			assert.NoError(t, err, "%q then %q", tt.last, tt.next)
		} else {
			assert.ErrorContains(t, err, tt.want, "%q then %q", tt.last, tt.next)
		}
	}
	next := state.WithStore(77, 1)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = checkPeers(state.Peers, next.Peers) }))
}
