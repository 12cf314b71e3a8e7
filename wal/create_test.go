package wal

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// Power is lost in Create, or its process is killed: Create can be called again. Once it has returned, it may be refused, as the storage
// is there.
func TestCreateInterrupted(t *testing.T) {
	x := rand.New(rand.NewPCG(1, 17))
	fs := disktest.New()
	h := disktest.NewHistory(fs, nil)
	require.NoError(t, create(fs, dir, 1, members))
	again, there := 0, 0
	ops := fs.Ops()
	for i, op := range ops {
		h.Play(op)
		for loss := range disktest.Losses {
			for _, image := range []*disktest.FS{h.Crash(loss, x), h.Kill()} {
				if opened, err := Open(dir, small(image.Clone())); err == nil {
					require.NoError(t, modelOf(opened).differs(opened), "one that did not finish is whole all the same, if it is there")
				}
				if err := create(image, dir, 1, members); err != nil {
					require.ErrorContains(t, err, "already: open it with Open")
					require.Equal(t, len(ops)-1, i, "it has finished")
					there++
				} else {
					again++
				}
				l := openIn(t, image)
				require.NoError(t, modelOf(l).differs(openIn(t, image.Crash(disktest.LoseAll, x))), "what was opened is durable")
			}
		}
	}
	require.Positive(t, again)
	require.Positive(t, there)
	for loss := range disktest.Losses {
		openIn(t, fs.Crash(loss, x)) // Create is durable when it returns
	}
}

// Whatever fails in Create, for once or from then on, it can be called again, when all is well, and for another server too. The error
// is of what failed, and of nothing else.
func TestCreateIsRepeatable(t *testing.T) {
	for _, more := range []bool{false, true} {
		n := 0
		for failed := true; failed; {
			n++
			failed = false
			fs := disktest.New()
			fs.Fail = func(_ disktest.Op, at int) error {
				if at == n || more && at > n {
					failed = true
					return errDisk
				}
				return nil
			}
			err := create(fs, dir, 1, members)
			fs.Fail = nil
			if !failed {
				require.NoError(t, err)
				break
			}
			require.ErrorContains(t, err, "wal: create data: ")
			require.ErrorContains(t, err, errDisk.Error())
			require.NotContains(t, err.Error(), "empty")
			opened, err := Open(dir, small(fs.Clone()))
			if err == nil {
				require.NoError(t, opened.Close())
			}
			require.NoError(t, create(fs, dir, 2, members), "call %d", n)
			l := openIn(t, fs)
			state, err := l.Server()
			require.NoError(t, err)
			require.Equal(t, paxos.ServerID(2), state.ID)
			require.NoError(t, l.Close())
			require.NotContains(t, fs.Names(), filepath.Join(dir, unfinished))
			require.ErrorContains(t, create(fs, dir, 2, members), "already")
		}
		require.Greater(t, n, 5)
	}
}

// A storage that was opened is never created again, though the removal of what says that Create has not finished was lost.
func TestCreateAfterOpen(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	require.NoError(t, l.Save(batchOf(voted("a", 1, "v"))))
	require.NoError(t, l.Close())
	fs.Put(filepath.Join(dir, unfinished), nil)
	require.ErrorContains(t, create(fs, dir, 1, members), "it is the storage of server 1 of cluster \"lunch\" already: open it with Open")
	l = openIn(t, fs)
	got, err := l.Load("a")
	require.NoError(t, err)
	require.Equal(t, voted("a", 1, "v"), got)
	require.NotContains(t, fs.Names(), filepath.Join(dir, unfinished))
}

// An error of reading is returned as it is.
func TestCreateOfWhatCanNotBeRead(t *testing.T) {
	fs := disktest.New()
	fs.FailOpen = func(name string) error {
		if filepath.Base(name) == manifestName {
			return syscall.EMFILE
		}
		return nil
	}
	err := create(fs, dir, 1, members)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.ErrorContains(t, err, "wal: create data: ")
	require.NotContains(t, err.Error(), "empty")
	var damaged *CorruptionError
	require.False(t, errors.As(err, &damaged))
}
