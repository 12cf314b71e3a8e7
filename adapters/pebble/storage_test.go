package pebble

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	s, err := Open(dir, nil)
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
	dir := filepath.Join(t.TempDir(), "paxos")
	reverse := *pebble.DefaultComparer
	reverse.Name = "reverse"
	for want, o := range map[string]pebble.Options{
		"Options.DisableWAL":        {DisableWAL: true},
		"Options.NoSyncOnClose":     {NoSyncOnClose: true},
		"Options.ReadOnly":          {ReadOnly: true},
		"Options.Comparer: reverse": {Comparer: &reverse},
	} {
		_, err := Open(dir, &o)
		require.ErrorContains(t, err, want)
	}
	assert.NoDirExists(t, dir)
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	opened(t, dir)
	_, err := Open(dir, nil)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "pebble: open "+dir)
}

// A lock file that was removed lets nobody in, and the error says who has the storage open.
func TestLockFilesRemoved(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	_, err := Open(dir, nil)
	require.ErrorContains(t, err, "this very process has it open")
	for _, name := range []string{"LOCK", lockName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Skip("a lock file can't be removed here: ", err)
		}
	}
	_, err = Open(dir, nil)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, s.Save(batchOf(voted("a", 1, "v"))))
}

// The working directory changes while a storage is open, and a symbolic link is set anew: it stays where it was.
func TestStaysInItsDirectory(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	require.NoError(t, os.Mkdir("data", 0o700))
	require.NoError(t, os.Mkdir("other", 0o700))
	if err := os.Symlink("data", "link"); err != nil {
		t.Skip(err)
	}
	s, err := Open("link", nil)
	require.NoError(t, err)
	t.Chdir("other")
	require.NoError(t, os.Remove(filepath.Join(base, "link")))
	require.NoError(t, os.Symlink("other", filepath.Join(base, "link")))
	for n := range uint64(3) {
		require.NoError(t, s.Save(batchOf(voted("a", n+1, "v"))))
		require.NoError(t, s.db.Flush(), "it makes files")
	}
	require.NoError(t, s.Close())
	entries, err := os.ReadDir(filepath.Join(base, "other"))
	require.NoError(t, err)
	require.Empty(t, entries)
	s, err = Open(filepath.Join(base, "data"), nil)
	require.NoError(t, err)
	got, err := s.Load("a")
	require.NoError(t, err)
	require.Equal(t, voted("a", 3, "v"), got)
	require.NoError(t, s.Close())
}

func TestAnotherFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	require.NoError(t, s.db.Set([]byte{kindFormat}, []byte{2}, pebble.Sync))
	require.NoError(t, s.Close())
	_, err := Open(dir, nil)
	require.ErrorContains(t, err, "format [2]: this version knows format 1")
}

// A storage from before a change of members goes on after it. A program that does not know the version of its state refuses it.
func TestStateOfOtherVersions(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	members := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}
	require.NoError(t, paxos.Format(s, 1, members))
	form := func() (b []byte) {
		_, err := get(s.db, []byte{kindState}, func(value []byte) error { b = append(b, value...); return nil })
		require.NoError(t, err)
		return b
	}
	require.Equal(t, byte(1), form()[0])
	require.NoError(t, s.Close())
	s = opened(t, dir)
	state, err := s.Server()
	require.NoError(t, err)
	before := paxos.Configuration{Members: members}
	next, err := before.Next(paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 4}})
	require.NoError(t, err)
	state.Members, state.Configuration, state.Before, state.Import = next.Members.Voters(), next.String(), before.String(), paxos.ImportComplete
	require.NoError(t, s.Save(paxos.Batch{Server: &state}))
	require.Equal(t, byte(3), form()[0])
	require.NoError(t, s.Close())
	s = opened(t, dir)
	got, err := s.Server()
	require.NoError(t, err)
	require.Equal(t, state, got)

	later := form()
	later[0] = 5
	require.NoError(t, s.db.Set([]byte{kindState}, later, pebble.Sync))
	require.NoError(t, s.Close())
	_, err = Open(dir, nil)
	require.ErrorContains(t, err, "state: paxos: server state: format version 5, but this program knows only the versions 1 to 4")
}

// A value that is not what it should be is an error that says whose, and a Save or an Open that needs it fails.
func TestDamageIsAnError(t *testing.T) {
	for _, v := range []string{"", "\x01", "\x02 of a later version", "another's"} {
		dir := t.TempDir()
		s := opened(t, dir)
		require.NoError(t, s.Save(batchOf(voted("lunch", 3, "burger"), voted("dinner", 3, "soup"))))
		value := []byte(v)
		if v == "another's" {
			value, _ = voted("dinner", 3, "soup").AppendBinary(nil)
		}
		require.NoError(t, s.db.Set(key(kindRecord, "lunch"), value, pebble.Sync))
		require.NoError(t, s.db.Set([]byte{kindState}, value[:min(len(value), 1)], pebble.Sync))
		_, err := s.Load("lunch")
		require.ErrorContains(t, err, `record "lunch": `)
		_, err = s.Server()
		require.ErrorContains(t, err, "state: ")
		r, err := s.Load("dinner")
		require.NoError(t, err)
		require.Equal(t, voted("dinner", 3, "soup"), r)
		require.ErrorContains(t, s.Save(batchOf(voted("lunch", 4, "pizza"))), `record "lunch": `)
		_, err = s.Load("dinner")
		require.ErrorContains(t, err, "dead since a Save failed")
		require.NoError(t, s.Close())
		_, err = Open(dir, nil)
		require.ErrorContains(t, err, "pebble: open "+dir+": state: ", "no Save could be checked against it")
	}
}

// A failure fails the syncs and writes of the log from some time on.
type failure struct{ on atomic.Bool }

func (f *failure) fs(below vfs.FS, kinds ...errorfs.OpKind) vfs.FS {
	return errorfs.Wrap(below, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f.on.Load() && slices.Contains(kinds, op.Kind) && strings.HasSuffix(op.Path, ".log") {
			return errorfs.ErrInjected
		}
		return nil
	}))
}

// When the log can't be written or synced, the Save that needs it fails, it is the last, and nobody reads what it left. Acknowledged Saves are there when the directory is opened again, on a disk that forgets all data that was not
// synced.
func TestDiskThatFails(t *testing.T) {
	syncs := []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}
	for _, c := range []struct {
		kinds []errorfs.OpKind
		again bool // the disk works again
	}{{syncs, false}, {syncs, true}, {[]errorfs.OpKind{errorfs.OpFileWrite}, false}, {[]errorfs.OpKind{errorfs.OpFileWrite}, true}} {
		disk, failed := vfs.NewCrashableMem(), failure{}
		s, err := Open("paxos", &pebble.Options{FS: failed.fs(disk, c.kinds...)})
		require.NoError(t, err)
		require.NoError(t, s.Save(batchOf(voted("lunch", 1, "burger"))))
		failed.on.Store(true)
		require.ErrorContains(t, s.Save(batchOf(voted("lunch", 2, "pizza"))), "injected error")
		if c.again {
			failed.on.Store(false)
		}
		require.ErrorContains(t, s.Save(batchOf(voted("lunch", 3, "soup"))), "dead since a Save failed")
		_, err = s.Load("lunch")
		require.ErrorContains(t, err, "dead since a Save failed")
		require.ErrorContains(t, s.Close(), "injected error")
		require.NoError(t, s.Close())

		s, err = Open("paxos", &pebble.Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
		require.NoError(t, err)
		r, err := s.Load("lunch")
		require.NoError(t, err)
		assert.Equal(t, voted("lunch", 1, "burger"), r)
		require.NoError(t, s.Close())
	}
}

// A server is killed after its log was written, but before it was synced. The next process then reads data from the page cache alone, unless pebble has written it again. A power loss must not take away data that was
// read.
func TestWhatIsReadAfterOpenIsSynced(t *testing.T) {
	disk, failed := vfs.NewCrashableMem(), failure{}
	s, err := Open("paxos", &pebble.Options{FS: failed.fs(disk, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo)})
	require.NoError(t, err)
	require.NoError(t, s.Save(batchOf(voted("lunch", 1, "burger"))))
	failed.on.Store(true)
	require.Error(t, s.Save(batchOf(voted("lunch", 2, "pizza"))))
	require.Error(t, s.Close())

	s, err = Open("paxos", &pebble.Options{FS: disk})
	require.NoError(t, err)
	read, err := s.Load("lunch")
	require.NoError(t, err)
	require.Equal(t, voted("lunch", 2, "pizza"), read, "otherwise nothing is tested here")
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, s.Close())
	s, err = Open("paxos", &pebble.Options{FS: crashed})
	require.NoError(t, err)
	again, err := s.Load("lunch")
	require.NoError(t, err)
	assert.Equal(t, read, again)
	require.NoError(t, s.Close())
}

// Damage to the log is an error, but not in its last block of 32 KiB. There pebble takes it for a batch that was being written, as the
// package comment says. This test fails when that is no longer so.
func TestDamagedLog(t *testing.T) {
	const block = 32 << 10
	dir, crashed := t.TempDir(), t.TempDir()
	s := opened(t, dir)
	require.NoError(t, s.Save(paxos.Batch{Server: &paxos.ServerState{Cluster: "test", ID: 1, Store: 1, Last: 20}}))
	for i := range uint64(20) {
		require.NoError(t, s.Save(batchOf(decided(fmt.Sprint("n", i), 1, paxos.Value(make([]byte, block/4)), i+1))))
	}
	require.NoError(t, os.CopyFS(crashed, os.DirFS(dir)))
	logs, err := filepath.Glob(filepath.Join(crashed, "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	last := slices.Max(logs)
	log, err := os.ReadFile(last)
	require.NoError(t, err)
	require.Greater(t, len(log), 4*block)

	log[block+block/2] ^= 1
	require.NoError(t, os.WriteFile(last, log, 0o600))
	_, err = Open(crashed, nil)
	require.True(t, pebble.IsCorruptionError(err), "%v", err)

	log[block+block/2] ^= 1
	log[len(log)-len(log)%block+100] ^= 1
	require.NoError(t, os.WriteFile(last, log, 0o600))
	s = opened(t, crashed)
	named, err := s.Decided(0, 100)
	require.NoError(t, err)
	require.Less(t, len(named), 20)
}

// A batch for which Save returned nil survives the loss of all data that was not synced, at any time.
func TestSavedIsSynced(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s, err := Open("paxos", &pebble.Options{FS: disk, MemTableSize: 64 << 10})
	require.NoError(t, err)
	for i := range uint64(100) {
		state := paxos.ServerState{Cluster: "test", ID: 1, Store: 1, Last: i + 1}
		require.NoError(t, s.Save(paxos.Batch{Server: &state, Records: []paxos.Record{
			decided(fmt.Sprint("n", i), 1, paxos.Value(make([]byte, 4<<10)), i+1)}}))
		crashed, err := Open("paxos", &pebble.Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
		require.NoError(t, err)
		got, err := crashed.Server()
		require.NoError(t, err)
		require.Equal(t, state, got)
		named, err := crashed.Decided(0, 1000)
		require.NoError(t, err)
		require.Len(t, named, int(i+1))
		require.NoError(t, crashed.Close())
	}
	require.NoError(t, s.Close())
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
