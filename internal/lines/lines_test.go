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

// A Logger that blocks holds up nobody; what finds no room is counted, and the count is told when it goes on.
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
