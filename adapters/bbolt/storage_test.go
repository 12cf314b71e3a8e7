package bbolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxostest"
)

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func opened(t *testing.T, dir string) *Storage {
	t.Helper()
	s, err := Open(filepath.Join(dir, "paxos.db"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStorage(t *testing.T) {
	paxostest.TestStorage(t, func(t *testing.T, dir string) paxos.Storage { return opened(t, dir) })
}

func voted(name string, round uint64, v paxos.Value) paxos.Record {
	b := paxos.Ballot{Round: round, Server: 1}
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: b, Accepted: b, Value: v}}
}

func decided(name string, round uint64, v paxos.Value, index uint64) paxos.Record {
	r := voted(name, round, v)
	r.Chosen, r.Index = true, index
	return r
}

func batchOf(records ...paxos.Record) paxos.Batch { return paxos.Batch{Records: records} }

func TestOptionsThatForgetAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "paxos.db")
	for want, o := range map[string]bolt.Options{
		"Options.NoSync":     {NoSync: true},
		"Options.NoGrowSync": {NoGrowSync: true},
		"Options.ReadOnly":   {ReadOnly: true},
	} {
		_, err := Open(file, &o)
		require.ErrorContains(t, err, want)
	}
	assert.NoFileExists(t, file)
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	opened(t, dir)
	_, err := Open(filepath.Join(dir, "paxos.db"), &bolt.Options{Timeout: time.Millisecond})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorIs(t, err, berrors.ErrTimeout)
	require.ErrorContains(t, err, "paxos.db: it is in use by another process, or by another Open in this one")
}

func TestOpenNamesTheFile(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "missing", "paxos.db"), nil)
	require.ErrorContains(t, err, "paxos.db")
	require.ErrorIs(t, err, os.ErrNotExist)
	file := filepath.Join(t.TempDir(), "paxos.db")
	require.NoError(t, os.WriteFile(file, make([]byte, 1<<16), 0o600))
	_, err = Open(file, nil)
	require.ErrorContains(t, err, "paxos.db", "zeros are not an empty storage")
}

func TestAnotherFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	require.NoError(t, s.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketServer).Put(keyFormat, []byte{2}) }))
	require.NoError(t, s.Close())
	_, err := Open(filepath.Join(dir, "paxos.db"), nil)
	require.ErrorContains(t, err, "format [2]: this version knows format 1")
}

// A storage from before a change of members goes on after it. A program that does not know the version of its state refuses it.
func TestStateOfOtherVersions(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	members := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}
	require.NoError(t, paxos.Format(s, 1, members))
	form := func() (b []byte) {
		require.NoError(t, s.view(func(tx *bolt.Tx) error { b = append(b, tx.Bucket(bucketServer).Get(keyState)...); return nil }))
		return b
	}
	require.Equal(t, byte(1), form()[4])
	require.NoError(t, s.Close())
	s = opened(t, dir)
	state, err := s.Server()
	require.NoError(t, err)
	before := paxos.Configuration{Members: members}
	next, err := before.Next(paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 4}})
	require.NoError(t, err)
	state.Members, state.Configuration, state.Before, state.Import = next.Members.Voters(), next.String(), before.String(), paxos.ImportComplete
	require.NoError(t, s.Save(paxos.Batch{Server: &state}))
	require.Equal(t, byte(3), form()[4])
	require.NoError(t, s.Close())
	s = opened(t, dir)
	got, err := s.Server()
	require.NoError(t, err)
	require.Equal(t, state, got)

	later := form()
	later[4] = 5
	require.NoError(t, s.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketServer).Put(keyState, seal(keyState, later)) }))
	require.NoError(t, s.Close())
	_, err = Open(filepath.Join(dir, "paxos.db"), nil)
	require.ErrorContains(t, err, "state: paxos: server state: format version 5, but this program knows only the versions 1 to 4")
}

// Any damaged bit of a record or of the state is an error that names it. A Save or an Open that needs it fails.
func TestDamageIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	state := paxos.ServerState{Cluster: "test", ID: 1, Store: 1, Boot: 3}
	require.NoError(t, s.Save(paxos.Batch{Server: &state, Records: []paxos.Record{voted("lunch", 3, "burger"), voted("dinner", 3, "soup")}}))
	damage := func(bucket []byte, key string, change func([]byte) []byte) {
		require.NoError(t, s.update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			return b.Put([]byte(key), change(append([]byte(nil), b.Get([]byte(key))...)))
		}))
	}
	size := 0
	damage(bucketRecords, "lunch", func(v []byte) []byte { size = len(v); return v })
	for bit := range size * 8 {
		flip := func(v []byte) []byte { v[bit/8] ^= 1 << (bit % 8); return v }
		damage(bucketRecords, "lunch", flip)
		_, err := s.Load("lunch")
		require.ErrorContains(t, err, `record "lunch": it is damaged`)
		damage(bucketRecords, "lunch", flip)
	}
	r, err := s.Load("lunch")
	require.NoError(t, err)
	require.Equal(t, voted("lunch", 3, "burger"), r)

	var other []byte
	damage(bucketRecords, "dinner", func(v []byte) []byte { other = v; return v })
	for _, v := range [][]byte{nil, {1}, other, other[:len(other)-1]} {
		damage(bucketRecords, "lunch", func([]byte) []byte { return v })
		_, err := s.Load("lunch")
		require.ErrorContains(t, err, `"lunch": it is damaged`)
	}
	damage(bucketServer, "state", func(v []byte) []byte { v[5] ^= 1; return v })
	_, err = s.Server()
	require.ErrorContains(t, err, "state: it is damaged")
	require.ErrorContains(t, s.Save(batchOf(voted("lunch", 4, "pizza"))), `"lunch": it is damaged`)
	_, err = s.Load("dinner")
	require.ErrorContains(t, err, "dead since a Save failed")
	require.NoError(t, s.Close())
	_, err = Open(filepath.Join(dir, "paxos.db"), nil)
	require.ErrorContains(t, err, "paxos.db: state: it is damaged", "no Save could be checked against it")
}

func TestOneIndexIsOfOneInstance(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	state := paxos.ServerState{Cluster: "test", ID: 1, Store: 1, Last: 9}
	require.NoError(t, s.Save(paxos.Batch{Server: &state, Records: []paxos.Record{decided("lunch", 1, "burger", 7)}}))
	require.NoError(t, s.Save(batchOf(decided("lunch", 1, "burger", 9), decided("dinner", 1, "soup", 7))), "it has moved")
	require.ErrorContains(t, s.Save(batchOf(decided("tea", 1, "cake", 9))), `record "tea": Index: 9 is that of "lunch"`)
	require.NoError(t, s.Close())
	s = opened(t, dir)
	named, err := s.Decided(0, 10)
	require.NoError(t, err)
	assert.Equal(t, []paxos.Named{{Instance: "dinner", Index: 7}, {Instance: "lunch", Index: 9}}, named)
}

// More names than one page.
func TestUndecidedPages(t *testing.T) {
	s := opened(t, t.TempDir())
	var b paxos.Batch
	for i := range 3000 {
		b.Records = append(b.Records, voted(fmt.Sprintf("n%04d", i), 1, "v"))
	}
	require.NoError(t, s.Save(b))
	i := 0
	for name, err := range s.Undecided() {
		require.NoError(t, err)
		require.Equal(t, b.Records[i].Instance, name)
		i++
	}
	require.Equal(t, 3000, i)
	for _, err := range s.Undecided() {
		if err != nil {
			require.ErrorIs(t, err, errClosed)
			return
		}
		require.NoError(t, s.Close()) // the page that was read stays, the next is an error
	}
	t.Fatal("a list that Close cut short looks complete")
}

// A Save that finds no room is the last, and leaves nothing. Acknowledged Saves are there once there is room again.
func TestNoRoom(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "paxos.db")
	s, err := Open(file, &bolt.Options{MaxSize: 1 << 20})
	require.NoError(t, err)
	saved := 0
	for {
		r := voted(fmt.Sprint("n", saved), 1, paxos.Value(make([]byte, 10<<10)))
		if err = s.Save(batchOf(r)); err != nil {
			break
		}
		saved++
	}
	require.ErrorIs(t, err, berrors.ErrMaxSizeReached)
	require.Positive(t, saved)
	require.ErrorIs(t, s.Save(batchOf(voted("small", 1, "v"))), berrors.ErrMaxSizeReached, "the reason stays")
	_, err = s.Load("n0")
	require.ErrorIs(t, err, berrors.ErrMaxSizeReached, "nobody reads what may not be on the disk")
	require.NoError(t, s.Close())
	s = opened(t, dir)
	names := 0
	for _, err := range s.Undecided() {
		require.NoError(t, err)
		names++
	}
	assert.Equal(t, saved, names)
	require.NoError(t, s.Save(batchOf(voted("small", 1, "v"))))
}

func TestCloseAgain(t *testing.T) {
	s := opened(t, t.TempDir())
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
}

// Three Nodes decide, stop, and go on where they were.
func TestNodes(t *testing.T) {
	members := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for life := range 3 {
		network := memory.NewNetwork()
		var nodes []*node.Node
		var stores []*Storage
		for i, id := range members.Acceptors {
			s := opened(t, dirs[i])
			if life == 0 {
				require.NoError(t, paxos.Format(s, id, members))
			}
			n, err := node.Start(ctx, node.Config{ID: id, Members: members, Storage: s, Transport: network.Join(id)})
			require.NoError(t, err)
			nodes, stores = append(nodes, n), append(stores, s)
		}
		for i, n := range nodes {
			d, err := n.Propose(ctx, "lunch", paxos.Value(fmt.Sprint("life ", life, " server ", i)))
			require.NoError(t, err)
			assert.EqualValues(t, "life 0 server 0", d.Value, "what was decided stays")
			d, err = n.Propose(ctx, fmt.Sprint("dish ", life), paxos.Value(fmt.Sprint("of ", i)))
			require.NoError(t, err)
			assert.EqualValues(t, "of 0", d.Value)
			d, ok, err := n.Read(ctx, "never proposed")
			require.NoError(t, err)
			assert.False(t, ok, "%v", d)
		}
		for i := range nodes {
			require.NoError(t, nodes[i].Close())
			require.NoError(t, stores[i].Close())
		}
	}
}
