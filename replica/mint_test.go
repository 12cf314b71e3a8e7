package replica

import (
	"strings"
	"testing"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A minted name is fresh: over names, starts and servers; and it is no name that Owned makes.
func TestMint(t *testing.T) {
	p := newPumpOf(t, 3)
	seen := map[string]bool{paxos.Owned(1, "job"): true}
	mint := func(id paxos.ServerID, name string) string {
		minted, err := p.replicas[id].Mint(name)
		require.NoError(t, err)
		require.False(t, seen[minted], minted)
		seen[minted] = true
		return minted
	}
	assert.Equal(t, "$1.1.1/job", mint(1, "job"))
	assert.Equal(t, "$1.1.2/job", mint(1, "job"))
	assert.Equal(t, "$1.1.3/", mint(1, ""))
	assert.Equal(t, "$2.1.1/job", mint(2, "job"))
	p.crash(1)
	p.start(1)
	p.run()
	assert.Equal(t, "$1.2.1/job", mint(1, "job"))
	long := strings.Repeat("x", paxos.MaxName-len("$1.2.2/"))
	mint(1, long)
	for name, want := range map[string]string{
		"a\nb":     `paxos: mint "a\nb": minted name "$1.2.3/a\nb" has a control character`,
		"\xff":     "is not valid UTF-8",
		"x" + long: "minted name has 256 bytes, at most 255 are allowed: too large",
	} {
		_, err := p.replicas[1].Mint(name)
		require.ErrorAs(t, err, new(*paxos.OpError))
		assert.ErrorContains(t, err, want)
		assert.False(t, paxos.Unknown(err))
	}
	assert.Equal(t, "$1.2.3/job", mint(1, "job"))
}

// Until the Save that counts this start is durable, the next start may have the same number.
func TestMintWaitsForTheFirstSave(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.hold = func(paxos.ServerID) bool { return true }
	p.start(1)
	_, err := p.replicas[1].Mint("job")
	require.ErrorIs(t, err, errNotBooted)
	p.run()
	_, err = p.replicas[1].Mint("job")
	require.ErrorIs(t, err, errNotBooted)
	p.endSave(1)
	minted, err := p.replicas[1].Mint("job")
	require.NoError(t, err)
	assert.Equal(t, "$1.1.1/job", minted)
}

// minted is Minted, of what can't fail.
func minted(server paxos.ServerID, boot, count uint64, name string) string {
	s, err := paxos.Minted(server, boot, count, name)
	if err != nil {
		panic(err)
	}
	return s
}
