package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWipedServerIsNotTakenIn: an operator makes a mistake at three in the morning. Server 2 is dead, servers 1 and 3 decide, both end, and
// the disk of server 3 is made anew under its old name. Servers 2 and 3 are a majority by number, but must not decide a second value.
// Server 2 has stored which storage server 3 had. It refuses the new one in words, and the process on it ends.
func TestWipedServerIsNotTakenIn(t *testing.T) {
	t.Parallel()
	a := newApart(t, program(t), 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*aWhile)
	defer cancel()
	claim := func(i int, name, owner string, timeout time.Duration) (string, error) {
		_, reach := a.children[i].now()
		require.NotNil(t, reach, "server %d", i+1)
		d, err := reach.propose(ctx, name, owner, timeout)
		return string(d.Value), err
	}
	// Each two of them decide something without the third, and so have met.
	for out := range a.children {
		require.NoError(t, a.children[out].kill())
		owner, err := claim((out+1)%3, "warm", "up", aWhile)
		require.NoError(t, err)
		require.Equal(t, "up", owner)
		_, err = claim((out+2)%3, "warm "+string(rune('1'+out)), "up", aWhile)
		require.NoError(t, err)
		require.NoError(t, a.children[out].start())
	}

	require.NoError(t, a.children[1].kill()) // kill -9 server 2
	owner, err := claim(0, "X", "the first owner", aWhile)
	require.NoError(t, err)
	require.Equal(t, "the first owner", owner)
	require.NoError(t, a.children[0].stop())
	require.NoError(t, a.children[2].stop())
	a.wipe(2)
	require.NoError(t, a.children[1].start())
	require.NoError(t, a.children[2].start())

	ended := a.children[2].ended
	owner, err = claim(1, "X", "another owner", 3*time.Second)
	require.Error(t, err, "server 3 has forgotten, and server 2 took it for the one it was: X has another owner, %q", owner)
	select {
	case <-ended:
	case <-ctx.Done():
		require.Fail(t, "server 3 runs on on its empty disk")
	}
	log, err := os.ReadFile(a.children[2].logFile)
	require.NoError(t, err)
	assert.Contains(t, string(log), "server 3 was met with another storage")
	_, reach := a.children[1].now()
	st, err := reach.status(ctx, aWhile)
	require.NoError(t, err)
	refused := map[uint64]string{}
	for _, p := range st.Peers {
		refused[uint64(p.ID)] = p.Refused
	}
	assert.Contains(t, refused[3], "its ServerID is finished")

	require.NoError(t, a.children[0].start()) // servers 1 and 2 go on as two of three
	owner, err = claim(1, "X", "another owner", aWhile)
	require.NoError(t, err)
	require.Equal(t, "the first owner", owner)
}
