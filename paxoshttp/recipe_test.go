package paxoshttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/once"
	"github.com/singledecree/paxos/recipe/sequence"
)

// A lossy transport loses questions on the way, or their answers, and hands some questions in twice.
type lossy struct {
	http.RoundTripper
	mu   sync.Mutex
	rand *rand.Rand
	lost int
}

func (l *lossy) fate() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	fate := l.rand.IntN(10)
	if fate < 4 {
		l.lost++
	}
	return fate
}

var errLost = errors.New("it was lost on the way")

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	fate := l.fate()
	if fate == 0 {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errLost
	}
	body := []byte(nil)
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	send := func() (*http.Response, error) {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		return l.RoundTripper.RoundTrip(again)
	}
	answered, err := send()
	if fate > 3 || err != nil {
		return answered, err
	}
	answered.Body.Close()
	if fate == 1 {
		return send()
	}
	return nil, errLost
}

// insist makes a call until it succeeds, or is told that another claim holds the job. Answers to reads are lost, too.
func insist(ctx context.Context, call func() error) error {
	err := call()
	for err != nil && ctx.Err() == nil && !errors.Is(err, once.ErrHeld) {
		err = call()
	}
	return err
}

// TestRecipesOverHTTP: workers with equal names claim a job and append to a sequence, each through the three servers, while requests and
// answers are lost. One claim holds each token, and each entry lands once.
func TestRecipesOverHTTP(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	urls, servers := startServers(t, 3)
	var all sync.WaitGroup
	var mu sync.Mutex
	holders, done, losses := map[uint64]int{}, map[paxos.Value]bool{}, 0
	for i := range 6 {
		transport := &http.Transport{}
		loses := &lossy{RoundTripper: transport, rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		c := clientOf(t, ClientConfig{Servers: append(urls[i%3:len(urls):len(urls)], urls[:i%3]...), HTTP: &http.Client{Transport: loses}})
		all.Go(func() {
			defer transport.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			job, err := once.New(c, "job")
			assert.NoError(t, err)
			for token := uint64(1); token <= 5; token++ {
				claim, err := job.Attempt(token, "worker")
				assert.NoError(t, err)
				err = insist(ctx, func() error { return claim.Take(ctx) })
				if err == nil {
					mu.Lock()
					holders[token]++
					mu.Unlock()
				}
				assert.True(t, err == nil || errors.Is(err, once.ErrHeld), "%v", err)
			}
			log, err := sequence.New(c, "log")
			assert.NoError(t, err)
			for n := range 4 {
				var e sequence.Entry
				err := insist(ctx, func() (err error) {
					e, err = log.NewEntry(ctx, paxos.Value(fmt.Sprint(i, " ", n)))
					return err
				})
				assert.NoError(t, err)
				err = insist(ctx, func() error {
					_, err := log.AppendEntry(ctx, e)
					return err
				})
				assert.NoError(t, err)
			}
			mu.Lock()
			losses += loses.lost
			mu.Unlock()
		})
	}
	all.Wait()
	assert.Equal(t, map[uint64]int{1: 1, 2: 1, 3: 1, 4: 1, 5: 1}, holders)
	assert.Greater(t, losses, 20)
	log, err := sequence.New(servers[0], "log")
	require.NoError(t, err)
	for e, err := range log.Entries(t.Context(), sequence.Position{}) {
		require.NoError(t, err)
		assert.False(t, done[e.Value], "%s landed twice", e.Value)
		if done[e.Value] = true; len(done) == 24 {
			break
		}
	}
}
