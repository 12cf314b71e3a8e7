package paxostest_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

func promised(name string, round uint64) paxos.Record {
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: round, Server: 1}}}
}

func batchOf(records ...paxos.Record) paxos.Batch { return paxos.Batch{Records: records} }

func requireRecord(t *testing.T, s paxos.Storage, want paxos.Record) {
	t.Helper()
	rec, err := s.Load(want.Instance)
	require.NoError(t, err)
	require.Equal(t, want, rec)
}

// At a crash, saved batches stay. A batch that was being saved is gone, unless it was to be kept.
func TestCrashStorageCrashes(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := paxostest.NewCrashStorage()
			require.NoError(t, s.Save(batchOf(promised("job", 1))))
			s.Delay(paxostest.OpSave, time.Second)
			result := make(chan error, 1)
			go func() { result <- s.Save(batchOf(promised("job", 2), promised("other", 3))) }()
			time.Sleep(time.Millisecond)
			requireRecord(t, s, promised("job", 1))
			var next *paxostest.CrashStorage
			if keep {
				next = s.CrashKept()
				requireRecord(t, next, promised("job", 2))
				requireRecord(t, next, promised("other", 3))
				assert.Len(t, next.Batches(), 2)
			} else {
				next = s.Crash()
				requireRecord(t, next, promised("job", 1))
				requireRecord(t, next, paxos.Record{})
				assert.Len(t, next.Batches(), 1)
			}
			require.ErrorIs(t, <-result, paxostest.ErrCrashed)

			// Nothing is got out of the old one, nor put into it.
			_, err := s.Load("job")
			require.ErrorIs(t, err, paxostest.ErrCrashed)
			_, err = s.Server()
			require.ErrorIs(t, err, paxostest.ErrCrashed)
			_, err = s.Decided(0, 1)
			require.ErrorIs(t, err, paxostest.ErrCrashed)
			for _, err := range s.Undecided() {
				require.ErrorIs(t, err, paxostest.ErrCrashed)
			}
			require.ErrorIs(t, s.Save(batchOf(promised("job", 9))), paxostest.ErrCrashed)
			require.NoError(t, next.Save(batchOf(promised("job", 4))))
			requireRecord(t, next, promised("job", 4))
			assert.Panics(t, func() { s.Crash() })
		})
	}
}

// A call fails when it was told to, and no other. After a Save that failed all Saves do; whether it left something is told.
func TestCrashStorageFails(t *testing.T) {
	full := errors.New("no space left")
	for _, kept := range []bool{false, true} {
		s := paxostest.NewCrashStorage()
		s.Fail(paxostest.Failure{Op: paxostest.OpSave, Nth: 2, Err: full, Kept: kept})
		s.Fail(paxostest.Failure{Op: paxostest.OpLoad})
		_, err := s.Load("job")
		require.ErrorIs(t, err, paxostest.ErrDisk)
		require.NoError(t, s.Save(batchOf(promised("job", 1))))
		requireRecord(t, s, promised("job", 1))
		require.ErrorIs(t, s.Save(batchOf(promised("job", 2))), full)
		require.ErrorIs(t, s.Save(batchOf(promised("job", 3))), full, "it is dead")
		want := promised("job", 1)
		if kept {
			want = promised("job", 2)
		}
		requireRecord(t, s, want)
		s = s.Crash()
		requireRecord(t, s, want)
		require.NoError(t, s.Save(batchOf(promised("job", 4))), "the next life is well")
	}
}

func TestCrashStorageFailsAnyCall(t *testing.T) {
	s := paxostest.NewCrashStorage()
	s.Fail(paxostest.Failure{Nth: 3})
	_, err := s.Load("job")
	require.NoError(t, err)
	_, err = s.Server()
	require.NoError(t, err)
	_, err = s.Decided(0, 1)
	require.ErrorIs(t, err, paxostest.ErrDisk)
	assert.Equal(t, 3, s.Calls(paxostest.OpAny))
	assert.Equal(t, 1, s.Calls(paxostest.OpLoad))
}

func TestCrashStorageKeepsTheBatches(t *testing.T) {
	s := paxostest.NewCrashStorage()
	state := paxos.ServerState{Cluster: "test", ID: 1, Boot: 1}
	b := paxos.Batch{Server: &state, Records: []paxos.Record{promised("job", 1)}}
	require.NoError(t, s.Save(b))
	state.Boot, b.Records[0] = 2, promised("job", 2) // they are the caller's again
	require.Len(t, s.Batches(), 1)
	assert.Equal(t, uint64(1), s.Batches()[0].Server.Boot)
	assert.Equal(t, promised("job", 1), s.Batches()[0].Records[0])
}

// Two Saves at once are a mistake of whoever calls, and the second says so. A Save that hangs ends with the crash.
func TestCrashStorageHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := paxostest.NewCrashStorage()
		s.Delay(paxostest.OpAny, math.MaxInt64)
		result := make(chan error, 1)
		go func() { result <- s.Save(batchOf(promised("job", 1))) }()
		time.Sleep(time.Hour)
		require.ErrorContains(t, s.Save(batchOf(promised("job", 2))), "two Saves at once")
		s = s.Crash()
		require.ErrorIs(t, <-result, paxostest.ErrCrashed)
		requireRecord(t, s, paxos.Record{})
	})
}

// A disk that hangs answers nothing until it is released, and a crash ends the calls.
func TestCrashStorageHangsUntilReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := paxostest.NewCrashStorage()
		s.Release() // it does nothing
		s.Hang()
		s.Hang()
		saved, loaded := make(chan error, 1), make(chan error, 1)
		save := func() { saved <- s.Save(batchOf(promised("job", 1))) }
		load := func() { _, err := s.Load("job"); loaded <- err }
		go save()
		go load()
		time.Sleep(time.Hour)
		assert.Empty(t, saved)
		assert.Empty(t, loaded)
		s.Release()
		require.NoError(t, <-saved)
		require.NoError(t, <-loaded)
		requireRecord(t, s, promised("job", 1))
		s.Hang()
		go load()
		time.Sleep(time.Hour)
		requireRecord(t, s.Crash(), promised("job", 1))
		require.ErrorIs(t, <-loaded, paxostest.ErrCrashed)
	})
}
