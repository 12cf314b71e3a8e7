package lines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A book is a Handler that keeps lines, and blocks while its gate is closed.
type book struct {
	gate chan struct{} // closed: go on
	mu   *sync.Mutex
	all  *[]string
	with string
}

func newBook() *book { return &book{gate: make(chan struct{}), mu: &sync.Mutex{}, all: &[]string{}} }

func (b *book) Enabled(context.Context, slog.Level) bool {
	<-b.gate
	return true
}

func (b *book) Handle(_ context.Context, r slog.Record) error {
	text := fmt.Sprint(r.Time.Unix(), " ", r.Level, " ", r.Message, b.with)
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	b.mu.Lock()
	defer b.mu.Unlock()
	*b.all = append(*b.all, text)
	return errors.New("nobody hears of it")
}

func (b *book) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *b
	for _, a := range attrs {
		c.with += " " + a.String()
	}
	return &c
}

func (b *book) WithGroup(string) slog.Handler { return b }

func (b *book) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), *b.all...)
}

// Lines reach the Logger in order, with the time at which they were said.
func TestLinesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		l := New(slog.New(b), "server", 1)
		l.Log(slog.LevelInfo, "one", "key", "value")
		time.Sleep(10 * time.Second)
		l.Log(slog.LevelError, "two")
		assert.False(t, l.Wait(time.Second))
		close(b.gate)
		assert.True(t, l.Wait(time.Second))
		assert.Equal(t, []string{"946684800 INFO one server=1 key=value", "946684810 ERROR two server=1"}, b.lines())
		assert.True(t, l.Wait(0), "nothing waits")
	})
}

// A Logger that blocks holds up nobody. Lines that find no room are counted, and the count is logged when it goes on.
func TestBlockedLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		l := New(slog.New(b))
		l.Log(slog.LevelInfo, "first")
		synctest.Wait() // it is in the Logger's hands
		for i := range most + 500 {
			l.Log(slog.LevelInfo, "line", "number", i)
		}
		began := time.Now()
		assert.False(t, l.Wait(time.Second))
		assert.Equal(t, time.Second, time.Since(began))
		close(b.gate)
		assert.True(t, l.Wait(time.Second))
		all := b.lines()
		assert.Len(t, all, 1+most+1)
		assert.True(t, strings.HasSuffix(all[most], fmt.Sprint("number=", most-1)), all[most])
		assert.True(t, strings.HasSuffix(all[most+1], "WARN log lines were lost: Logger was slow lines=500"), all[most+1])
		l.Log(slog.LevelInfo, "after")
		assert.True(t, l.Wait(time.Second))
		assert.Len(t, b.lines(), most+3, "a loss is told once")
	})
}

func TestNoLogger(t *testing.T) {
	l := New(nil, "server", 1)
	l.Log(slog.LevelInfo, "one")
	assert.True(t, l.Wait(0))
}

// ended reports whether l has ended.
func ended(l *Log) bool {
	synctest.Wait()
	select {
	case <-l.Ended():
		return true
	default:
		return false
	}
}

// A count needs no room: it is summed for each message, and told once, after the lines that waited and after how many of those were lost.
func TestCountsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		l := New(slog.New(b), "server", 1)
		l.Log(slog.LevelInfo, "first")
		synctest.Wait() // it is in the Logger's hands
		for range most {
			l.Log(slog.LevelInfo, "line")
		}
		l.Lost("apples were lost", "apples", 2)
		l.Log(slog.LevelInfo, "no room")
		l.Lost("pears were lost", "pears", 1)
		l.Lost("apples were lost", "apples", 3)
		close(b.gate)
		assert.True(t, l.Wait(time.Second))
		all := b.lines()
		assert.Equal(t, []string{"946684800 WARN log lines were lost: Logger was slow server=1 lines=1",
			"946684800 WARN apples were lost server=1 apples=5", "946684800 WARN pears were lost server=1 pears=1"}, all[1+most:])
		l.Lost("apples were lost", "apples", 1)
		assert.True(t, l.Wait(time.Second))
		assert.Equal(t, []string{"946684800 WARN apples were lost server=1 apples=1"}, b.lines()[len(all):], "alone, and anew")
	})
}

// After End the Logger gets all lines that come until it has them all. Then the Log has ended, and takes nothing more.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		l := New(slog.New(b))
		l.Log(slog.LevelInfo, "one")
		l.Log(slog.LevelInfo, "two")
		l.End()
		l.End()
		l.Lost("apples were lost", "apples", 1)
		assert.False(t, ended(l), "the Logger blocks")
		close(b.gate)
		assert.True(t, ended(l))
		assert.Len(t, b.lines(), 3)
		l.Log(slog.LevelInfo, "late")
		l.Lost("apples were lost", "apples", 1)
		l.End()
		l.Leave()
		assert.True(t, l.Wait(0), "nothing waits")
		assert.Empty(t, l.queue, "nothing is kept for nobody")
		assert.Empty(t, l.counts)
		synctest.Wait()
		assert.Len(t, b.lines(), 3)
	})
}

// A Log to which nothing was said, or that has no Logger, ends at once.
func TestEndOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quiet, none := New(slog.New(newBook())), New(nil)
		none.Log(slog.LevelInfo, "one")
		none.Lost("apples were lost", "apples", 1)
		for _, l := range []*Log{quiet, none} {
			assert.False(t, ended(l), "End was not called")
			l.End()
			assert.True(t, ended(l))
		}
	})
}

// After Leave the Logger is not called again, but for the call that runs; Ended says when that has returned. Nobody waits for it.
func TestLeave(t *testing.T) {
	for _, before := range []func(*Log){func(*Log) {}, (*Log).End} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook()
			l := New(slog.New(b))
			l.Log(slog.LevelInfo, "one")
			synctest.Wait() // it is in the Logger's hands
			for range most + 1 {
				l.Log(slog.LevelInfo, "line")
			}
			l.Lost("apples were lost", "apples", 1)
			before(l)
			l.Leave()
			assert.False(t, ended(l), "a call runs")
			l.Log(slog.LevelInfo, "late")
			close(b.gate)
			assert.True(t, ended(l))
			assert.Len(t, b.lines(), 1)
			assert.Contains(t, b.lines()[0], "one")
		})
	}
}
