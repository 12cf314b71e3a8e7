package wal

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/disk/disktest"
)

// A stuck Handler holds whoever calls it until it is let go.
type stuck struct {
	slog.Handler
	once   *sync.Once
	called chan struct{} // closed: it was
	let    chan struct{} // closed: go on
}

func newStuck() stuck {
	return stuck{slog.DiscardHandler, &sync.Once{}, make(chan struct{}), make(chan struct{})}
}

func (s stuck) Enabled(context.Context, slog.Level) bool { return true }

func (s stuck) Handle(context.Context, slog.Record) error {
	s.once.Do(func() { close(s.called) })
	<-s.let
	return nil
}

func (s stuck) WithAttrs([]slog.Attr) slog.Handler { return s }

// ends returns what f returns, and fails if that takes for ever.
func ends(t *testing.T, what string, f func() error) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(30 * time.Second):
		require.Fail(t, what+" waits for the Logger")
		return nil
	}
}

// A Logger that blocks holds up no Save and no background work: all goes on when a shortage ends that it was to be told of. Close gives
// it one second.
func TestShortageDoesNotWaitForTheLogger(t *testing.T) {
	t.Parallel() // Close waits for the Logger
	fs, logger := newShort(t), newStuck()
	defer close(logger.let)
	l, err := Open(dir, Options{fs: fs, least: 4 << 10, SegmentSize: 32 << 10, eager: true, sealAfter: time.Hour, Logger: slog.New(logger)})
	require.NoError(t, err)
	m := modelOf(l)
	why := syscall.EMFILE
	fs.why.Store(&why)
	go func() {
		<-logger.called
		fs.why.Store(nil)
	}()
	for n := range uint64(100) {
		b := batchOf(voted("a", n+1, string(make([]byte, 700))))
		require.NoError(t, ends(t, "a Save", func() error { return l.Save(b) }))
		m.apply(b)
	}
	require.NoError(t, m.differs(l))
	began := time.Now()
	require.NoError(t, ends(t, "Close", l.Close))
	require.GreaterOrEqual(t, time.Since(began), linesGrace)
}

// A log that dies in the background has its Saves fail, and can be closed, though the Logger blocks that is told.
func TestDeadLogDoesNotWaitForTheLogger(t *testing.T) {
	t.Parallel() // Close waits for the Logger
	fs, logger := created(t), newStuck()
	defer close(logger.let)
	l, err := Open(dir, Options{fs: fs, least: 4 << 10, SegmentSize: 32 << 10, sealAfter: time.Millisecond, inline: true, Logger: slog.New(logger)})
	require.NoError(t, err)
	require.NoError(t, l.Save(batchOf(promised("a", 1))))
	l.writing.Lock()
	fs.Fail = func(disktest.Op, int) error { return errors.New("broken") }
	l.sealing.Reset(0) // as inline has none
	l.writing.Unlock()
	<-logger.called
	require.ErrorContains(t, ends(t, "a Save", func() error { return l.Save(batchOf(promised("b", 1))) }), "dead")
	ends(t, "Close", l.Close)
}

// So it is where the worker finds that the disk is broken: Close waits for the worker.
func TestDeadWorkerDoesNotWaitForTheLogger(t *testing.T) {
	t.Parallel() // Close waits for the Logger
	fs, logger := newShort(t), newStuck()
	defer close(logger.let)
	l, err := Open(dir, Options{fs: fs, least: 4 << 10, SegmentSize: 32 << 10, sealAfter: time.Hour, Logger: slog.New(logger)})
	require.NoError(t, err)
	why := syscall.EIO
	fs.why.Store(&why)
	for n := uint64(1); err == nil; n++ {
		b := batchOf(voted("a", n, string(make([]byte, 700))))
		err = ends(t, "a Save", func() error { return l.Save(b) })
	}
	require.ErrorIs(t, err, why)
	<-logger.called
	ends(t, "Close", l.Close)
}

// Options.Logger is called by lines alone.
func TestTheLoggerIsCalledByLines(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	called := regexp.MustCompile(`[lL]ogger\.(Debug|Info|Warn|Error|Log)`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		if !strings.HasSuffix(name, "_test.go") {
			require.Empty(t, called.FindAllString(string(text), -1), "%s: call lines.Log, as nobody must wait for the Logger", name)
		}
	}
}
